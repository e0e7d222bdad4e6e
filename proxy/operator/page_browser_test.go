package operator_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy"
	"b24proxy/proxy/b24sim"
	"b24proxy/proxy/replay"
	"b24proxy/proxy/replay/replaytest"
)

// Of Chromium and of the folder for pictures, as .ci/page sets them.
const (
	browserProgram = "B24PROXY_CHROMIUM"
	browserShots   = "B24PROXY_SCREENSHOTS" // unset: none are kept
)

// markup is what a portal or a client might send to get into the page. As the
// name of a client it is not taken: the webhook stands in its place.
const markup = `<img src=x onerror="document.title='owned'">`

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sites are the simulated portals of the test, by name. A stranger spends the
// limit of the portal "shared" now and then.
func sites() map[string]http.Handler {
	sim := func(c b24sim.Config, faults ...string) http.Handler {
		c.Seed, c.RefusedCount = 7, true
		for _, text := range faults {
			c.Faults = append(c.Faults, must(b24sim.ParseFault(text)))
		}
		return b24sim.New(c)
	}
	shared := b24sim.New(b24sim.Config{Rate: 10, Burst: 100, RefusedCount: true, Seed: 7})
	stranger := func(w http.ResponseWriter, r *http.Request) {
		if shared.Arrived()%8 == 0 {
			shared.Spend(max(0, 101-shared.Level()))
		}
		shared.ServeHTTP(w, r)
	}
	return map[string]http.Handler{
		"acme":     sim(b24sim.Config{Rate: 12, Burst: 60}),
		"broken":   sim(b24sim.Config{}, "*:html:0.3", "crm.deal.add:reset-after:0.2", "*:INTERNAL_SERVER_ERROR:0.1"),
		"overload": sim(b24sim.Config{}, "*:OVERLOAD_LIMIT"),
		"shop":     sim(b24sim.Config{}, `crm.deal.update:error="ERROR_CORE"`, fmt.Sprintf(`crm.deal.get:error=%q`, "<b>owned</b>")),
		"reports": sim(b24sim.Config{Operating: b24sim.Operating{Mode: b24sim.OperatingDocumented,
			Charge: map[string]time.Duration{"crm.deal.list": 90 * time.Second, "crm.item.list": 60 * time.Second, "batch": 5 * time.Second}}}),
		"shared":  http.HandlerFunc(stranger),
		"selfrun": sim(b24sim.Config{}),
	}
}

// certificate is one for all hosts of a domain, and the roots that trust it.
func certificate(t *testing.T, domain string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"*." + domain}, NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(der)))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// served is a proxy on loopback, before all sites.
type served struct {
	clients, admin string
	stop           func()
}

// An absentStore is a shared store that has gone away.
type absentStore struct {
	replay.Shared
	since time.Time
}

func newAbsentStore(since time.Time) absentStore {
	writes := replaytest.NewMemory()
	writes.SetAway(true)
	return absentStore{writes.Replica("0"), since}
}

func (s absentStore) State() limiter.StoreState {
	return limiter.StoreState{Since: s.since, Replicas: 2}
}

func (s absentStore) Sync(limiter.Report) (limiter.Reply, error) {
	return limiter.Reply{}, &limiter.Away{Since: s.since, Replicas: 2}
}

func (absentStore) Key() []byte                           { return nil }
func (absentStore) Watch(func(time.Duration, bool))       {}
func (absentStore) Publish(string, []byte, time.Duration) {}
func (absentStore) Hear(func([]byte, time.Duration))      {}

func servePortals(t *testing.T, store proxy.SharedStore) *served {
	t.Helper()
	portals := sites()
	pair, roots := certificate(t, "bitrix24.com")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ".")
		portals[name].ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	gone := httptest.NewServer(nil)
	gone.Close()

	clients, admin := must(net.Listen("tcp", "127.0.0.1:0")), must(net.Listen("tcp", "127.0.0.1:0"))
	plan := func(host string, p limiter.Plan) proxy.HostEntry[limiter.Plan] {
		return proxy.HostEntry[limiter.Plan]{Pattern: must(proxy.ParseHostPattern(host)), Value: p}
	}
	connect := func(host, to string) proxy.HostEntry[string] {
		return proxy.HostEntry[string]{Pattern: must(proxy.ParseHostPattern(host)), Value: to}
	}
	p := proxy.New(proxy.Config{
		Portals:         proxy.CloudPortals(),
		Plan:            limiter.Enterprise,
		PortalPlans:     proxy.HostMap[limiter.Plan]{plan("acme.bitrix24.com", limiter.Plan{Rate: 10, Burst: 50}), plan("shared.bitrix24.com", limiter.Plan{Rate: 10, Burst: 100}), plan("selfrun.bitrix24.com", limiter.Unlimited)},
		QueueWait:       time.Minute,
		QueueDepth:      1000,
		UpstreamTimeout: 10 * time.Second,
		MaxBody:         1 << 20,
		OperatingLimit:  480 * time.Second,
		Normalize:       true,
		MetricsPortals:  100,
		Roots:           roots,
		ConnectTo:       proxy.HostMap[string]{connect("*.bitrix24.com", server.Listener.Addr().String()), connect("gone.bitrix24.com", gone.Listener.Addr().String())},
		Shared:          store,
		Version:         "v1.2.3",
		Log:             slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, proxy.Listeners{Clients: clients, Admin: admin}, time.Second) }()
	stop := sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return &served{"http://" + clients.Addr().String(), "http://" + admin.Addr().String(), stop}
}

// load calls all portals until ctx ends. It returns when all callers have.
func (s *served) load(ctx context.Context) {
	call := func(portal, client, method string) {
		r := must(http.NewRequestWithContext(ctx, http.MethodPost, s.clients+"/rest/1/s3cretcode123456/"+method, strings.NewReader("{}")))
		if !strings.Contains(portal, ".") {
			portal += ".bitrix24.com"
		}
		r.Header.Set("B24-Portal", portal)
		r.Header.Set("B24-Client", client)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	var callers sync.WaitGroup
	repeat := func(n int, pause time.Duration, portal, client string, methods ...string) {
		for range n {
			callers.Go(func() {
				tick := time.NewTicker(pause)
				defer tick.Stop()
				for i := 0; ctx.Err() == nil; i++ {
					call(portal, client, methods[i%len(methods)])
					select {
					case <-tick.C:
					case <-ctx.Done():
					}
				}
			})
		}
	}
	repeat(90, time.Millisecond, "acme", "crm-sync", "crm.deal.list")
	repeat(25, time.Millisecond, "acme", "shop", "crm.deal.add")
	repeat(5, time.Millisecond, "acme", markup, "crm.contact.list")
	repeat(2, 300*time.Millisecond, "broken", "erp", "crm.deal.add", "crm.deal.list", "user.get")
	repeat(1, 700*time.Millisecond, "overload", "erp", "crm.deal.list")
	repeat(1, time.Second, "gone", "erp", "crm.deal.list")
	repeat(1, 400*time.Millisecond, "shop", "erp", "crm.deal.update", "crm.deal.get", "crm.deal.list")
	repeat(1, 200*time.Millisecond, "reports", "erp", "crm.deal.list", "crm.item.list", "batch", "user.get")
	repeat(1, 250*time.Millisecond, "shared", "erp", "crm.deal.list")
	repeat(2, 150*time.Millisecond, "selfrun", "erp", "crm.deal.list")
	repeat(1, 3*time.Second, "crm.example.org", "erp", "crm.deal.list")
	callers.Wait()
}

// The page in a real browser shows what a load with errors did: which portal
// suffers and why, worst first, its codes, queue by client and level; it sorts,
// opens its rows, follows the scheme, fits a phone, runs no markup of others,
// and says when its connection is lost. Its stream keeps it alive; without
// JavaScript it shows the same.
func TestPageInBrowser(t *testing.T) {
	program := os.Getenv(browserProgram)
	if program == "" {
		t.Skipf("needs Chromium: %s is to name it (.ci/page does that)", browserProgram)
	}
	shots := os.Getenv(browserShots)
	s := servePortals(t, nil)
	b := startBrowser(t, program)
	b.screen(1280, 900, "light")
	b.do("Page.navigate", map[string]any{"url": s.admin + "/"}, nil)
	b.until(`document.querySelector("#connection.live") && document.body.innerText.includes("No calls yet")`)
	if example := eval[string](b, `document.querySelector("#example").textContent`); !strings.Contains(example, s.clients) {
		t.Errorf("the empty page's example is %q, clients connect to %s", example, s.clients)
	}
	b.shoot(shots, "empty")

	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() { s.load(ctx) })
	defer load.Wait()
	defer cancel()
	b.until(`document.querySelectorAll("#rows .row").length === 8`)
	b.until(`document.querySelectorAll("#overview .bar-calls").length >= 5`) // 25 s
	checkPage(t, b)

	checkScreens(t, b, shots, "")
	checkWithoutScript(t, b, s.admin, shots)
	checkWithoutStore(t, b, shots)
	b.do("Page.navigate", map[string]any{"url": s.admin + "/"}, nil)
	b.until(`document.querySelector("#connection.live")`)
	cancel()
	s.stop()
	b.until(`document.body.innerText.includes("Connection lost since")`)
	b.shoot(shots, "lost")
}

// checkScreens looks at the page on a desktop and a phone, by day and by night.
func checkScreens(t *testing.T, b *browser, shots, prefix string) {
	t.Helper()
	for _, screen := range []struct {
		name          string
		width, height int
	}{{"desktop", 1280, 900}, {"phone", 390, 844}} {
		for _, scheme := range []string{"light", "dark"} {
			b.screen(screen.width, screen.height, scheme)
			b.until(fmt.Sprintf(`innerWidth === %d && matchMedia("(prefers-color-scheme: %s)").matches`, screen.width, scheme))
			if wide := eval[int](b, "document.documentElement.scrollWidth"); wide > screen.width {
				t.Errorf("%s: %d pixels wide, the screen has %d", screen.name, wide, screen.width)
			}
			b.shoot(shots, prefix+screen.name+"-"+scheme)
		}
		dark := eval[string](b, "getComputedStyle(document.body).backgroundColor")
		b.screen(screen.width, screen.height, "light")
		if light := eval[string](b, "getComputedStyle(document.body).backgroundColor"); light == dark {
			t.Errorf("dark and light both have the background %s", light)
		}
	}
}

// checkWithoutStore looks at the page of a replica whose shared store is away.
func checkWithoutStore(t *testing.T, b *browser, shots string) {
	t.Helper()
	s := servePortals(t, newAbsentStore(time.Now().Add(-90*time.Second)))
	defer s.stop()
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() { s.load(ctx) })
	defer load.Wait()
	defer cancel()
	b.do("Page.navigate", map[string]any{"url": s.admin + "/"}, nil)
	b.until(`document.querySelectorAll("#rows .row").length === 8`)
	if notice := eval[string](b, `document.querySelector("#notice").innerText`); !strings.HasPrefix(notice, "The shared store has been away for ") {
		t.Errorf("got the notice %q, want one that the store is away", notice)
	}
	checkScreens(t, b, shots, "away-")
}

// checkWithoutScript looks at the page in a browser that runs no JavaScript.
func checkWithoutScript(t *testing.T, b *browser, page, shots string) {
	t.Helper()
	b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	defer b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": false}, nil)
	for _, scheme := range []string{"light", "dark"} {
		b.screen(1280, 900, scheme)
		b.do("Page.navigate", map[string]any{"url": page + "/?open=shop.bitrix24.com"}, nil)
		html := b.html("</footer>")
		for _, want := range []string{"portals in trouble", "gone.bitrix24.com", "Unreachable for", "crm.<wbr>deal.<wbr>update", "as of ", "Without JavaScript"} {
			if !strings.Contains(html, want) {
				t.Errorf("%q is not on the page without JavaScript:\n%s", want, html)
			}
		}
		b.shoot(shots, "noscript-"+scheme)
	}
}

// checkPage looks at the page under load, and leaves acme's row open.
func checkPage(t *testing.T, b *browser) {
	t.Helper()
	text := func(portal, selector string) string {
		return eval[string](b, fmt.Sprintf(`document.querySelector('[data-portal="%s.bitrix24.com"] %s').innerText`, portal, selector))
	}
	order := func() string {
		return eval[string](b, `[...document.querySelectorAll("#rows .row")].map((r) => r.dataset.portal.split(".")[0]).join(" ")`)
	}
	if got := order(); !strings.HasPrefix(got, "overload gone broken reports ") && !strings.HasPrefix(got, "overload gone reports broken ") {
		t.Errorf("the order is %s, want the worst first", got)
	}
	for portal, want := range map[string]string{"overload": "blocked", "gone": "unreachable", "broken": "failing", "acme": "queueing", "selfrun": "ok", "shared": "slowed"} {
		if got := text(portal, ".badge"); got != want {
			t.Errorf("%s is shown as %s, want %s", portal, got, want)
		}
	}
	if got := text("gone", ".error"); !strings.Contains(got, "PORTAL_UNREACHABLE") {
		t.Errorf("the last error of a portal that is gone is %q", got)
	}
	if got := text("acme", ".bucket"); !strings.HasSuffix(strings.TrimSpace(got), " of 50") {
		t.Errorf("the bucket reads %q", got)
	}

	sortBy := func(title, want string) {
		t.Helper()
		eval[any](b, fmt.Sprintf(`[...document.querySelectorAll("#head a")].find((a) => a.textContent === %q).click()`, title))
		b.until(fmt.Sprintf(`document.querySelector('#head [aria-sort$="ending"]').ariaSort + " " + document.querySelector("#rows .row").dataset.portal.split(".")[0] === %q`, want))
	}
	sortBy("Portal", "ascending acme")
	sortBy("Portal", "descending shop")
	sortBy("Waiting", "descending acme")
	sortBy("State", "ascending overload")

	for _, portal := range []string{"shop", "acme"} { // by keyboard
		eval[any](b, fmt.Sprintf(`document.querySelector('[data-portal="%s.bitrix24.com"] .name a').focus()`, portal))
		b.do("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}, nil)
		b.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}, nil)
	}
	b.until(`document.querySelectorAll(".details").length === 2`)
	open := eval[string](b, `[...document.querySelectorAll(".details")].map((d) => d.innerText).join("\n")`)
	for _, want := range []string{"crm-sync", "shop", "webhook ", "ERROR_CORE", "other", "crm.deal.update"} {
		if !strings.Contains(open, want) {
			t.Errorf("%q is not in the open rows:\n%s", want, open)
		}
	}
	whole := eval[string](b, "document.title + document.documentElement.outerHTML")
	if strings.Contains(whole, "s3cret") || strings.Contains(whole, "<img") || strings.Contains(open, "onerror") || strings.Contains(whole, "owned</b>") || strings.HasPrefix(whole, "owned") {
		t.Errorf("a secret, or markup of others, is in the page:\n%s", whole)
	}
	if !strings.Contains(eval[string](b, "document.body.textContent"), "PORTAL_NOT_ALLOWED") {
		t.Error("requests for portals that are not allowed are not shown")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		t.Errorf("the console has errors: %s", b.problems)
	}
}
