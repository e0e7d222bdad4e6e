package b24sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// credential says who calls.
type credential struct {
	kind string
	id   string // the application or the webhook; the operating budget is theirs
	app  string // of an OAuth call, else ""
}

const (
	kindOAuth   = "oauth"
	kindWebhook = "webhook"
)

// tokens has what /oauth/token has issued, with the virtual time at which each
// expires.
type tokens map[string]time.Duration

const (
	tokenLife = time.Hour
	maxTokens = 10_000
)

// token finds the OAuth token of a call: `auth` or `access_token` in query,
// form or JSON, or a Bearer header.
func (x *exchange) token() string {
	if t := x.params.text("auth", "access_token"); t != "" {
		return t
	}
	if t := x.params.sub("auth").text("access_token"); t != "" {
		return t
	}
	scheme, t, _ := strings.Cut(x.r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(t)
	}
	return ""
}

// tokenName is the parameter that carries the token of an OAuth call, or "".
func (x *exchange) tokenName() string {
	switch {
	case x.addr.webhook():
		return ""
	case x.params.text("auth") != "", x.params.sub("auth").text("access_token") != "":
		return "auth"
	case x.params.text("access_token") != "":
		return "access_token"
	}
	return ""
}

// noteSecrets records which values of the call must not be shown.
func (x *exchange) noteSecrets() {
	auth := x.params.sub("auth")
	x.p.update(x.call, func(c *Call) {
		c.secret(x.token())
		for _, key := range []string{"auth", "token", "access_token", "refresh_token", "client_secret", "code"} {
			c.secret(x.params.text(key))
			c.secret(auth.text(key))
		}
	})
}

func (x *exchange) authorize() (credential, *failure) {
	valid := x.config.Tokens
	if x.addr.webhook() {
		if len(valid) > 0 && !slices.Contains(valid, x.addr.code) {
			return credential{}, fail(codeInvalidCredentials)
		}
		return credential{kind: kindWebhook, id: x.addr.user + "/" + x.addr.code}, nil
	}
	token := x.token()
	if token == "" {
		return credential{}, fail(codeNoAuth)
	}
	app := x.config.Applications[token]
	if app == "" {
		app = x.config.Application
	}
	if app == "" {
		app = "local.b24sim"
	}
	cred := credential{kind: kindOAuth, id: app, app: app}
	if slices.Contains(valid, token) {
		return cred, nil
	}
	if expires, ok := x.p.expiry(token); ok {
		if x.started >= expires {
			return credential{}, fail(codeExpiredToken)
		}
		return cred, nil
	}
	if len(valid) == 0 {
		return cred, nil
	}
	if x.config.UnknownToken != "" {
		return credential{}, fail(x.config.UnknownToken)
	}
	return credential{}, fail(codeNoAuth)
}

func (p *Portal) expiry(token string) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	expires, ok := p.tokens[token]
	return expires, ok
}

// issue makes a pair of tokens; the access token is valid for an hour.
func (p *Portal) issue() (access, refresh string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tokens) >= maxTokens {
		for t := range p.tokens { // any one: a simulator need not remember all
			delete(p.tokens, t)
			break
		}
	}
	p.nextID++
	access = fmt.Sprintf("simulated-access-%d", p.nextID)
	refresh = fmt.Sprintf("simulated-refresh-%d", p.nextID)
	p.tokens[access] = p.clock.now() + tokenLife
	return access, refresh
}
