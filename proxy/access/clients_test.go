package access

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	crmKey  = "crm-key_0123456789"
	shopKey = "SHOPshopSHOPshop"
)

func clients(t *testing.T) *Clients {
	t.Helper()
	c := new(Clients)
	for _, pair := range [][2]string{{"crm-sync", crmKey}, {"shop", shopKey}} {
		if err := c.Add(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func basic(credentials string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

// A client is known by its key, wherever programs put it.
func TestCallerIsTheOwnerOfTheKey(t *testing.T) {
	c := clients(t)
	for name, test := range map[string]struct {
		proxy, origin string // the headers
		caller        string
		tried         bool
	}{
		"the name and the key":                             {proxy: basic("crm-sync:" + crmKey), caller: "crm-sync", tried: true},
		"the key as the user, as in http://KEY@host":       {proxy: basic(crmKey + ":"), caller: "crm-sync", tried: true},
		"the key alone, without a colon":                   {proxy: basic(crmKey), caller: "crm-sync", tried: true},
		"the key as the password, as in http://:KEY@host":  {proxy: basic(":" + shopKey), caller: "shop", tried: true},
		"in Authorization":                                 {origin: basic("shop:" + shopKey), caller: "shop", tried: true},
		"without padding, and in another case":             {proxy: "bAsIc  " + strings.TrimRight(basic("shop:" + shopKey)[6:], "=") + " ", caller: "shop", tried: true},
		"beside a token of the portal":                     {proxy: basic("shop:" + shopKey), origin: "Bearer token", caller: "shop", tried: true},
		"beside Basic authentication that is the portal's": {proxy: basic("shop:" + shopKey), origin: basic("bitrix:admin"), caller: "shop", tried: true},
		"in Authorization, beside another proxy's":         {proxy: basic("corporate:proxy"), origin: basic("shop:" + shopKey), caller: "shop", tried: true},

		"nothing":                          {},
		"a token of the portal alone":      {origin: "Bearer " + crmKey},
		"the key as a token":               {proxy: "Bearer " + crmKey, tried: true},
		"another client's name":            {proxy: basic("shop:" + crmKey), tried: true},
		"a name that is not a client's":    {proxy: basic("admin:" + crmKey), tried: true},
		"the name in another case":         {proxy: basic("SHOP:" + shopKey), tried: true},
		"the key in another case":          {proxy: basic("shop:" + strings.ToLower(shopKey)), tried: true},
		"a part of the key":                {proxy: basic("shop:" + shopKey[:15]), tried: true},
		"the key and more":                 {proxy: basic("shop:" + shopKey + "x"), tried: true},
		"the name alone":                   {proxy: basic("shop:"), tried: true},
		"an empty user and password":       {proxy: basic(":"), tried: true},
		"what is not base64":               {proxy: "Basic ***", tried: true},
		"Basic without anything":           {origin: "Basic", tried: true},
		"the key outside of Basic":         {proxy: crmKey, tried: true},
		"the portal's own Basic, no proxy": {origin: basic("bitrix:admin"), tried: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if test.proxy != "" {
				h.Set("Proxy-Authorization", test.proxy)
			}
			if test.origin != "" {
				h.Set("Authorization", test.origin)
			}
			if caller, tried := c.Caller(h); caller != test.caller || tried != test.tried {
				t.Errorf("got %q, tried: %v; want %q, %v", caller, tried, test.caller, test.tried)
			}
		})
	}
}

func TestOneRequestIsOneGuess(t *testing.T) {
	h := http.Header{"Proxy-Authorization": {basic("shop:guess-1"), basic("shop:" + shopKey)}}
	if caller, _ := clients(t).Caller(h); caller != "" {
		t.Errorf("got %q for a key in the second line, want none", caller)
	}
}

// Keys leave the header, and what is the portal's stays.
func TestStripRemovesKeysAlone(t *testing.T) {
	c := clients(t)
	h := http.Header{
		"Proxy-Authorization": {basic("shop:" + shopKey)},
		"Authorization":       {basic("shop:" + shopKey), "Bearer token", basic("bitrix:admin"), basic(crmKey + ":")},
	}
	c.Strip(h)
	if got, want := fmt.Sprint(h), fmt.Sprint(http.Header{"Authorization": {"Bearer token", basic("bitrix:admin")}}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	none, own := new(Clients), http.Header{"Authorization": {basic("shop:" + shopKey)}}
	if none.Strip(own); len(own) != 1 {
		t.Errorf("got %v, want the header as it was where no client has a key", own)
	}
}

// A key leaves the header where it is not valid, too: what a client writes wrongly
// must not bring its key to the portal.
func TestStripRemovesMisplacedKeys(t *testing.T) {
	c := clients(t)
	for what, value := range map[string]string{
		"with the name of another client": basic("crm-sync:" + shopKey),
		"with a name that nobody has":     basic("x:" + shopKey),
		"as the user":                     basic(shopKey + ":x"),
		"with more behind it":             basic("shop:" + shopKey + ":x"),
		"as a token":                      "Bearer " + shopKey,
		"as a token in base64":            "Bearer " + basic("shop:" + shopKey)[len("Basic "):],
		"without a scheme":                shopKey,
		"behind a tab":                    strings.Replace(basic("shop:"+shopKey), " ", "\t", 1),
		"before another scheme":           basic("shop:"+shopKey) + ", Bearer token",
		"as a parameter":                  `Digest username="shop", response="` + shopKey + `"`,
		"in the base64 of URLs":           "Basic " + base64.RawURLEncoding.EncodeToString([]byte("~~~?:"+shopKey)),
	} {
		t.Run(what, func(t *testing.T) {
			h := http.Header{"Authorization": {"Bearer token", value}}
			if c.Strip(h); fmt.Sprint(h) != "map[Authorization:[Bearer token]]" {
				t.Errorf("got %s, want the token alone", h)
			}
		})
	}
}

// A client that cannot be told apart, or whose key is weak or needs escapes, is
// refused in words that repeat nothing.
func TestAddRefuses(t *testing.T) {
	for name, test := range map[string]struct{ name, key, want string }{
		"no name":                        {"", "0123456789abcdef", "the name must have"},
		"a name with a space":            {"crm sync", "0123456789abcdef", "the name must have"},
		"a name with a colon":            {"crm:sync", "0123456789abcdef", "the name must have"},
		"a long name":                    {strings.Repeat("n", 65), "0123456789abcdef", "the name must have"},
		"a word of the log":              {"none", "0123456789abcdef", "another meaning"},
		"a word of the metrics":          {"other", "0123456789abcdef", "another meaning"},
		"a short key":                    {"reports", "0123456789abcde", "has 15 characters"},
		"no key":                         {"reports", "", "has 0 characters"},
		"a key that needs escapes":       {"reports", "0123456789abc%def", "may have only"},
		"a key with a colon":             {"reports", "0123456789:abcdef", "may have only"},
		"the name of another":            {"shop", "0123456789abcdef", "the name is that of another"},
		"the key of another":             {"reports", shopKey, "the key is that of another"},
		"the key in place of the name":   {crmKey, "crm-sync", "the key has 8 characters"},
		"the longest name there may be":  {strings.Repeat("n", 64), "0123456789abcdef", ""},
		"the shortest key there may be":  {"a", "----____----____", ""},
		"a name with all its characters": {"A-z_0.9", "0123456789ABCDEF", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := clients(t)
			err := c.Add(test.name, test.key)
			switch {
			case test.want == "":
				if err != nil || len(c.Names()) != 3 {
					t.Errorf("got %v and the clients %v, want one more", err, c.Names())
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want %q", err, test.want)
			case len(test.name) > 8 && strings.Contains(err.Error(), test.name), test.key != "" && strings.Contains(err.Error(), test.key):
				t.Errorf("got %v, want neither the name nor the key in it", err)
			}
		})
	}
	if c := clients(t); !slices.Equal(c.Names(), []string{"crm-sync", "shop"}) || !c.Any() || new(Clients).Any() {
		t.Errorf("got %v, want both clients", c.Names())
	}
}

// No way of printing shows a key or its hash.
func TestClientsPrintAsNames(t *testing.T) {
	c := clients(t)
	inside := struct {
		Open   Clients
		hidden Clients
	}{*c, *c}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", "clients", c, "value", *c, "inside", inside)
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "clients", c, "value", *c, "inside", inside)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb+verb, c, *c, inside)
	}
	hash := fmt.Sprintf("%x", hashOf(crmKey))
	bytesOf := strings.Trim(fmt.Sprint(hashOf(crmKey)), "[]")
	for _, secret := range []string{crmKey, shopKey, hash, strings.ToUpper(hash), bytesOf} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("got %q in %s", secret, &log)
		}
	}
	if !strings.Contains(log.String(), "clients=crm-sync,shop") {
		t.Errorf("got %s, want the names", &log)
	}
}
