package redisstore

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed publish.lua
var publishSource string

//go:embed kept.lua
var keptSource string

var (
	publishScript = redis.NewScript(publishSource)
	keptScript    = redis.NewScript(keptSource)
)

const (
	maxOutbox = 1000 // news that wait to be sent
	maxKept   = 2000 // news that the store keeps
)

// news is a text for the other replicas.
type news struct {
	subject string
	text    []byte
	holds   time.Duration
}

// Publish sends a text to the other replicas, and does not wait for that. It is lost
// while the store is away, and where news come faster than they can be sent. The store
// keeps the last text of each subject as long as it holds, for replicas that come later.
func (s *Store) Publish(subject string, text []byte, holds time.Duration) {
	select {
	case s.outbox <- news{subject, text, holds}:
	default:
	}
}

// Hear has a function called, one at a time, with each text that another replica
// publishes, and with those that the store keeps: at first, and after the connection was
// lost. It is told how old a text is. Hear is called once, before Publish.
func (s *Store) Hear(heard func(text []byte, age time.Duration)) {
	ctx, cancel := context.WithCancel(context.Background())
	s.silence = append(s.silence, cancel)
	pubsub := s.client.Subscribe(ctx, s.newsChannel())
	go func() {
		<-ctx.Done()
		pubsub.Close()
	}()
	go func() {
		for message := range pubsub.ChannelWithSubscriptions() { // it connects again by itself
			switch m := message.(type) {
			case *redis.Subscription:
				s.catchUp(ctx, heard)
			case *redis.Message:
				if from, text, _ := bytes.Cut([]byte(m.Payload), []byte{' '}); string(from) != s.name {
					heard(text, 0)
				}
			}
		}
	}()
	go s.send(ctx)
}

// catchUp reads the news that the store keeps.
func (s *Store) catchUp(ctx context.Context, heard func(text []byte, age time.Duration)) {
	for ctx.Err() == nil {
		if kept, err := s.kept(ctx); err == nil {
			for i := 0; i+1 < len(kept); i += 2 {
				age, _ := strconv.ParseFloat(kept[i], 64)
				heard([]byte(kept[i+1]), seconds(age))
			}
			return
		}
		select {
		case <-time.After(beatInterval):
		case <-ctx.Done():
		}
	}
}

func (s *Store) kept(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	began := time.Now()
	kept, err := keptScript.Run(ctx, s.client, s.newsKeys()).StringSlice()
	s.took(began, err)
	return kept, err
}

// send sends what is in the outbox until ctx ends.
func (s *Store) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-s.outbox:
			if s.isAway() == nil {
				s.publish(ctx, n)
			}
		}
	}
}

func (s *Store) publish(ctx context.Context, n news) {
	ctx, cancel := context.WithTimeout(ctx, s.bound)
	defer cancel()
	began := time.Now()
	err := publishScript.Run(ctx, s.client, s.newsKeys(), s.newsChannel(), s.name, n.subject, n.text, fmt.Sprint(n.holds.Seconds()), maxKept).Err()
	s.took(began, err)
}

func (s *Store) newsChannel() string { return "b24:{" + s.config.Egress + "}:news" }
func (s *Store) newsKeys() []string {
	return []string{"b24:{" + s.config.Egress + "}:kept", "b24:{" + s.config.Egress + "}:kept-until"}
}
