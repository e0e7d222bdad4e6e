package proxy

import (
	"context"
	"time"

	"b24proxy/limiter/operating"
	"b24proxy/proxy/joining"
)

// A rider is a read that waits for a slot and may travel in a batch with others: either
// it gets the slot, and takes others along, or it is taken along. It belongs to the
// goroutine of its caller, and while it travels to that of the batch.
type rider struct {
	read     joining.Read
	group    string // of the reads that it may travel with; smaller after a batch was lost
	key      operating.Key
	deadline time.Time
	caller   context.Context
	pass     *operating.Pass // of its method, while it travels
	came     chan ride       // has room for one
}

func (r *rider) paceKey() joining.Key {
	return joining.Key{Portal: r.key.Upstream, Method: r.read.Method}
}

// ownName names the method with this credential.
func (r *rider) ownName() string { return r.read.Group + r.read.Method }

// A ride is how a batch ended for one of its reads. One of the first three is set if
// that is the end of the call.
type ride struct {
	answer *joinedAnswer // what the caller gets; after a refusal, if there is no other slot
	failed *failure

	refused bool           // the portal refused the batch: the read waits again with the others
	group   string         // of the half of a lost batch with which it waits again
	alone   joining.Reason // why it is sent alone now
	ran     bool           // it may have run although it has no answer
}

// wait waits for the end of a rider's batch.
func (r *rider) wait(ex *exchange) (ride, error) {
	began := time.Now()
	defer func() { ex.portalTime += time.Since(began) }()
	ex.attempts++
	select {
	case came := <-r.came:
		ex.mayHaveRun = ex.mayHaveRun || came.ran
		return came, nil
	case <-r.caller.Done():
		return ride{}, context.Cause(r.caller)
	}
}

// again prepares a rider to wait once more, and reports whether it may travel again.
func (r *rider) again(ex *exchange, came ride) bool {
	ex.travelled = !came.refused
	if came.group != "" {
		r.group = came.group
	}
	return came.alone == "" && ex.attempts < maxResends
}
