package operator

import (
	"log/slog"
	"time"

	"b24proxy/limiter"
	"b24proxy/metrics"
)

// Config is fixed for the life of the process.
type Config struct {
	Version, Revision string
	Mode              Mode
	Store             Store
	AdminHost         string   // a name under which the listener may be asked; may be empty
	PProf             bool     // profiles are served
	MetricsPortals    int      // portals with labels of their own
	Clients           []string // that have a key, by name
	Expected          metrics.Expected
	Log               *slog.Logger
	LogAllCalls       bool // a line at info for every call, not only for failed ones

	Shared func() limiter.StoreState // the store that is shared with other replicas; nil: none

	// What the proxy holds now. Both must be quick, and safe for concurrent use.
	Snapshot func() Snapshot
	Portals  func(now time.Time, names []string) []Portal // those in use, and those named
}

// A Mode says whether limits are enforced.
type Mode string

const (
	Enforce Mode = "enforce"
	Observe Mode = "observe"
)

// A Store is where the levels of buckets are kept.
type Store string

const (
	InMemory Store = "memory"
	InFile   Store = "file"  // they survive a restart
	InRedis  Store = "redis" // they are shared with other replicas
)

// A Snapshot is what the proxy holds at one moment, for all portals together.
type Snapshot struct {
	Listen                 string // where clients connect; "" before they can
	IsDraining             bool
	MemoryBytes, DiskBytes int64 // of request bodies
}
