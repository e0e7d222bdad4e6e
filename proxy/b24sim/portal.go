package b24sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Portal is a simulated Bitrix24 portal. It is an [http.Handler] that may be
// called from many goroutines, and starts none of its own.
type Portal struct {
	seed uint64

	mu      sync.Mutex
	config  Config
	clock   clock
	phase   time.Duration
	shared  bucket
	single  map[string]*bucket // by source IP, with Config.PerAddress
	jitter  *rand.Rand
	rules   []*rule
	log     callLog
	arrived int
	refused int
	ran     map[string]int
	usages  usages
	tokens  tokens
	replies replies
	nextID  int
}

// maxAddresses bounds the counters kept with Config.PerAddress.
const maxAddresses = 10_000

// New makes a portal. It panics on a Config that [Config.Validate] refuses.
func New(c Config) *Portal {
	if err := c.Validate(); err != nil {
		panic("b24sim: " + err.Error())
	}
	seed := c.Seed
	for seed == 0 {
		seed = rand.Uint64()
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	p := &Portal{seed: seed, clock: newClock(c.Speed)}
	p.resetLocked(c)
	return p
}

// resetLocked returns p to its first state, except for the clock and its phase.
func (p *Portal) resetLocked(c Config) {
	draw := rand.New(rand.NewPCG(p.seed, 1))
	p.config = c
	p.phase = time.Duration(draw.Int64N(int64(time.Second)))
	p.jitter = rand.New(rand.NewPCG(p.seed, 2))
	p.rules = newRules(c.Faults, p.seed)
	p.shared = bucket{}
	p.single = make(map[string]*bucket)
	p.log = callLog{}
	p.arrived, p.refused = 0, 0
	p.ran = make(map[string]int)
	p.usages = make(usages)
	p.tokens = make(tokens)
	p.replies = replies{}
	p.nextID = 1000
}

// Reset forgets all calls and empties every counter. Settings and faults start
// again from the Config in force.
func (p *Portal) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resetLocked(p.config)
}

// Seed is the seed in force: with it, the same calls in the same order meet the
// same faults.
func (p *Portal) Seed() uint64 { return p.seed }

// Calls returns the latest calls in the order in which they arrived, at most
// 100,000 of them and 128 MiB of their bodies.
func (p *Portal) Calls() []Call {
	return p.callsSince(0)
}

// callsSince returns the calls after number seq.
func (p *Portal) callsSince(seq int) []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var calls []Call
	for _, c := range p.log.calls {
		if c.Seq > seq {
			calls = append(calls, *c)
		}
	}
	return calls
}

// Ran returns how often a method ran, also inside a batch.
func (p *Portal) Ran(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ran[strings.ToLower(method)]
}

// Arrived returns how many requests arrived, also refused ones.
func (p *Portal) Arrived() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrived
}

// Refused returns how many calls got QUERY_LIMIT_EXCEEDED.
func (p *Portal) Refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// Level returns the counter of the rate limit now; with Config.PerAddress the
// highest one.
func (p *Portal) Level() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	level := 0
	for _, b := range p.bucketsLocked() {
		b.drain(p.limitLocked(), p.clock.now())
		level = max(level, b.level)
	}
	return level
}

// Spend counts n requests of another program behind the same address at once;
// with Config.PerAddress, behind each address that has called.
func (p *Portal) Spend(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.bucketsLocked() {
		b.spend(p.limitLocked(), p.clock.now(), n)
	}
}

// SetFaults replaces all faults. It panics on one that [ParseFault] would
// refuse.
func (p *Portal) SetFaults(faults ...Fault) {
	if err := p.setFaults(faults); err != nil {
		panic("b24sim: " + err.Error())
	}
}

func (p *Portal) setFaults(faults []Fault) error {
	for _, f := range faults {
		if err := f.validate(); err != nil {
			return fmt.Errorf("fault %s: %w", f, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config.Faults = slices.Clone(faults)
	p.rules = newRules(faults, p.seed)
	return nil
}

// Config returns the one in force, with Speed filled in.
func (p *Portal) Config() Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.config
	c.Faults = slices.Clone(c.Faults)
	c.Operating.Charge = maps.Clone(c.Operating.Charge)
	return c
}

// change puts a changed Config in force if it is valid. Counters, log, the state
// of faults and the seed stay.
func (p *Portal) change(edit func(*Config) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.config
	if err := edit(&c); err != nil {
		return err
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	if err := c.Validate(); err != nil {
		return err
	}
	for _, b := range p.bucketsLocked() { // until now the counters fell at the old rate
		b.drain(p.limitLocked(), p.clock.now())
	}
	if c.Speed != p.config.Speed {
		p.clock = p.clock.at(c.Speed)
	}
	p.config = c
	return nil
}

func (p *Portal) limitLocked() limit {
	return limit{p.config.Burst, p.config.Rate, p.config.RefusedCount, p.phase}
}

func (p *Portal) bucketsLocked() []*bucket {
	if !p.config.PerAddress {
		return []*bucket{&p.shared}
	}
	return slices.Collect(maps.Values(p.single))
}

// bucketLocked is the counter for a caller's address.
func (p *Portal) bucketLocked(remote string) *bucket {
	if !p.config.PerAddress {
		return &p.shared
	}
	if b := p.single[remote]; b != nil {
		return b
	}
	if len(p.single) >= maxAddresses {
		p.forgetAddressesLocked()
	}
	b := &bucket{}
	p.single[remote] = b
	return b
}

// forgetAddressesLocked drops the counters that are at zero, and if that is not
// enough, others until a quarter is free again.
func (p *Portal) forgetAddressesLocked() {
	maps.DeleteFunc(p.single, func(_ string, b *bucket) bool {
		b.drain(p.limitLocked(), p.clock.now())
		return b.level == 0
	})
	for key := range p.single {
		if len(p.single) <= maxAddresses*3/4 {
			return
		}
		delete(p.single, key)
	}
}

// arrive counts and logs a call and reports whether the rate limit accepts it.
func (p *Portal) arrive(c *Call, counted bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.At = time.Now()
	p.log.add(c)
	p.arrived++
	if !counted {
		return true
	}
	if p.bucketLocked(c.Remote).arrive(p.limitLocked(), p.clock.now()) {
		return true
	}
	c.Refused = true
	p.refused++
	return false
}

// strike returns what the faults do to one call.
func (p *Portal) strike(method string, inner bool) (slow time.Duration, hit *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strike(p.rules, method, inner)
}

// update changes a logged call under the lock.
func (p *Portal) update(c *Call, change func(*Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(c)
}

// remoteIP is the caller's address without the port.
func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// sleep lasts a virtual duration, or until done is closed.
func (p *Portal) sleep(d time.Duration, done <-chan struct{}) {
	if d <= 0 {
		return
	}
	p.mu.Lock()
	d = p.clock.real(d)
	p.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

// lag waits while a call is on its way. The call arrives even if its caller leaves
// meanwhile, so nothing ends this wait.
func (p *Portal) lag() {
	p.mu.Lock()
	var d time.Duration
	if p.config.Jitter > 0 {
		d = time.Duration(p.jitter.Int64N(int64(p.config.Jitter) + 1))
	}
	p.mu.Unlock()
	p.sleep(d, nil)
}
