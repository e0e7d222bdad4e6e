package proxy

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"b24proxy/proxy/bitrix24"
)

// keptTokens bounds the tokens that are remembered; the least recently used go.
const keptTokens = 20_000

// applications says which application is behind an OAuth token. Tokens change
// every hour, budgets are kept by application (bitrix24/README.md#operating-time),
// and the cloud's answers name it (bitrix24/README.md#credentials).
type applications struct {
	mu    sync.Mutex
	names *simplelru.LRU[string, string] // by token
}

func newApplications() *applications {
	names, _ := simplelru.NewLRU[string, string](keptTokens, nil) // fails only below a size of 1
	return &applications{names: names}
}

// of is the name under which a credential's budgets are kept.
func (a *applications) of(c bitrix24.Credential) string {
	if c.Kind == bitrix24.CredentialOAuth {
		a.mu.Lock()
		defer a.mu.Unlock()
		if name, known := a.names.Get(c.ID); known {
			return "application " + name
		}
	}
	return c.String()
}

// learn remembers the application that an answer names, and reports whether it was not
// known.
func (a *applications) learn(c bitrix24.Credential, application string) (isNew bool) {
	return c.Kind == bitrix24.CredentialOAuth && a.add(c.ID, application)
}

// add remembers the application of a token, and reports whether it was not known.
func (a *applications) add(token, application string) (isNew bool) {
	if application == "" || len(application) > 128 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known, _ := a.names.Get(token)
	a.names.Add(token, application)
	return known != application
}
