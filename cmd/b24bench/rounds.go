package main

import (
	"slices"
	"time"
)

// rounds are what came of several loads of one rival, each measured between those of the
// others. The first one warms up.
type rounds []roundResult

type roundResult struct {
	load
	cpu time.Duration
}

// measure adds a round.
func (rs *rounds) measure(of *child, call func() (load, error)) error {
	before, err := of.cpu()
	if err != nil {
		return err
	}
	l, err := call()
	if err != nil {
		return err
	}
	after, err := of.cpu()
	*rs = append(*rs, roundResult{l, after - before})
	return err
}

// A cost is what rounds show. Shares are of a bare httputil.ReverseProxy: of its
// throughput the median of the rounds, of its CPU time that of all rounds, since the
// system counts that in steps of 10 ms.
type cost struct {
	Calls           int     `json:"calls"`
	Failed          int     `json:"failed"`
	PerSecond       float64 `json:"per_second"`
	ThroughputShare float64 `json:"throughput_share"`
	CPU             float64 `json:"cpu"` // seconds a call
	CPUShare        float64 `json:"cpu_share"`
}

func (rs rounds) cost(bare rounds) cost {
	c := cost{PerSecond: rs.perSecond(), CPU: rs.cpuOfACall()}
	var throughput []float64
	for i, round := range rs[1:] {
		c.Calls, c.Failed = c.Calls+round.calls, c.Failed+round.failed
		throughput = append(throughput, round.perSecond()/bare[1+i].perSecond())
	}
	c.ThroughputShare, c.CPUShare = median(throughput), c.CPU/bare.cpuOfACall()
	return c
}

func (rs rounds) perSecond() float64 {
	var all []float64
	for _, round := range rs[1:] {
		all = append(all, round.perSecond())
	}
	return median(all)
}

// cpuOfACall is in seconds.
func (rs rounds) cpuOfACall() float64 {
	var cpu time.Duration
	calls := 0
	for _, round := range rs[1:] {
		cpu, calls = cpu+round.cpu, calls+round.calls
	}
	return cpu.Seconds() / float64(calls)
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}
