package redisstore

import (
	"bytes"
	"context"
	"time"
)

// maxOutbox bounds the news that wait to be sent.
const maxOutbox = 1000

// Publish sends a text to the other replicas, and does not wait for that. It is lost
// while the store is away, and where news come faster than they can be sent.
func (s *Store) Publish(text []byte) {
	select {
	case s.outbox <- text:
	default:
	}
}

// Hear has a function called, one at a time, with each text that another replica
// publishes. It is called once, before Publish.
func (s *Store) Hear(heard func(text []byte)) {
	ctx, cancel := context.WithCancel(context.Background())
	s.silence = append(s.silence, cancel)
	pubsub := s.client.Subscribe(ctx, s.newsChannel())
	go func() {
		<-ctx.Done()
		pubsub.Close()
	}()
	go func() {
		for message := range pubsub.Channel() { // it connects again by itself
			from, text, _ := bytes.Cut([]byte(message.Payload), []byte{' '})
			if string(from) != s.name {
				heard(text)
			}
		}
	}()
	go s.send(ctx)
}

// send sends what is in the outbox until ctx ends.
func (s *Store) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case text := <-s.outbox:
			if s.isAway() == nil {
				s.publish(ctx, text)
			}
		}
	}
}

func (s *Store) publish(ctx context.Context, text []byte) {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	began := time.Now()
	s.took(began, s.client.Publish(ctx, s.newsChannel(), s.name+" "+string(text)).Err())
}

func (s *Store) newsChannel() string { return "b24:{" + s.config.Egress + "}:news" }
