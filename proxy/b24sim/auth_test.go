package b24sim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// The portal finds the token of an OAuth call wherever clients put it, and the
// answer names the application. An answer to a webhook names none.
func TestTokenPlaces(t *testing.T) {
	p := New(Config{Application: "local.example"})
	bearer := httptest.NewRequest(http.MethodGet, "/rest/profile", nil)
	bearer.Header.Set("Authorization", "Bearer invented-token")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, bearer)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"bearer":       w,
		"query":        get(t, p, "/rest/profile?auth=invented-token"),
		"access_token": get(t, p, "/rest/profile?access_token=invented-token"),
		"nested":       get(t, p, "/rest/profile?auth[access_token]=invented-token"),
		"form":         call(t, p, "POST", "/rest/profile", form, "auth=invented-token"),
		"json":         call(t, p, "POST", "/rest/profile", jsonType, `{"auth":"invented-token"}`),
	} {
		if w.Code != 200 || w.Header().Get("X-Bitrix-Rest-Application") != "local.example" {
			t.Errorf("the token is in %s: got %d %v %s, want 200 and the application", name, w.Code, w.Header(), w.Body)
		}
	}
	if w := get(t, p, hook+"profile"); w.Code != 200 || w.Header().Get("X-Bitrix-Rest-Application") != "" {
		t.Errorf("a webhook: got %d %v, want 200 and no application", w.Code, w.Header())
	}
}

// If tokens are set, a call with another one gets the code that was chosen, and
// does not run.
func TestUnknownTokens(t *testing.T) {
	p := New(Config{Tokens: []string{"good-token", "good-code"}, UnknownToken: "expired_token"})
	for target, want := range map[string]int{
		"/rest/profile?auth=good-token":  200,
		"/rest/profile?auth=other-token": 401,
		"/rest/profile":                  401,
		"/rest/1/good-code/profile":      200,
		"/rest/1/other-code/profile":     401,
	} {
		t.Run(target, func(t *testing.T) {
			if w := get(t, p, target); w.Code != want {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, want)
			}
		})
	}
	if p.Ran("profile") != 2 {
		t.Errorf("got %d run, want 2", p.Ran("profile"))
	}
}

// A token from /oauth/token is valid for a virtual hour, then it has expired.
func TestOAuthToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Tokens: []string{"none-but-issued"}, Speed: 60})
		w := get(t, p, "/oauth/token/?grant_type=refresh_token&client_id=local.x&client_secret=invented&refresh_token=invented")
		var token struct {
			Access  string `json:"access_token"`
			Expires int    `json:"expires_in"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &token); err != nil || token.Access == "" || token.Expires != 3600 {
			t.Fatalf("got %s (%v), want a token for an hour", w.Body, err)
		}
		if w := get(t, p, "/rest/profile?auth="+token.Access); w.Code != 200 {
			t.Errorf("a fresh token: got %d %s, want 200", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		if w := get(t, p, "/rest/profile?auth="+token.Access); w.Code != 401 || decode(t, w)["error"] != "expired_token" {
			t.Errorf("after an hour: got %d %s, want 401 expired_token", w.Code, w.Body)
		}
		if w := get(t, p, "/oauth/token/?grant_type=refresh_token&client_id=local.x"); w.Code != 400 {
			t.Errorf("without a refresh token: got %d, want 400", w.Code)
		}
	})
}

// Tokens of one application share its operating budget, because they change every
// hour. Another application has its own.
func TestBudgetOfApplication(t *testing.T) {
	p := New(Config{
		Applications: map[string]string{"token-c": "local.other"},
		Operating: Operating{Mode: OperatingDocumented, Limit: time.Second,
			Charge: map[string]time.Duration{"profile": 2 * time.Second}},
	})
	var codes []int
	for _, token := range []string{"token-a", "token-b", "token-c"} {
		codes = append(codes, get(t, p, "/rest/profile?auth="+token).Code)
	}
	if codes[0] != 200 || codes[1] != 429 || codes[2] != 200 {
		t.Errorf("got %v, want 200 429 200", codes)
	}
}

// Files pass complete whatever they contain; other addresses answer as those of a
// portal.
func TestSite(t *testing.T) {
	p := New(Config{})
	for target, want := range map[string]struct {
		status      int
		contentType string
		length      int // -1: any
	}{
		"/rest/download.json?token=t":         {200, "application/json", 84},
		"/rest/download.json?token=t&size=70": {200, "application/octet-stream", 70},
		hook + "crm.item.list?token=t&size=0": {200, "application/octet-stream", 0},
		"/disk/downloadFile/1/?size=9":        {200, "application/octet-stream", 9},
		"/upload/a.png":                       {200, "application/json", -1},
		"/bitrix/services/main/ajax.php":      {200, "application/json; charset=utf-8", -1},
		"/nothing":                            {404, "text/html", -1},
		"/":                                   {404, "text/html", -1},
	} {
		t.Run(target, func(t *testing.T) {
			w := get(t, p, target)
			if w.Code != want.status || w.Header().Get("Content-Type") != want.contentType || want.length >= 0 && w.Body.Len() != want.length {
				t.Errorf("got %d %s, %d bytes, want %+v", w.Code, w.Header().Get("Content-Type"), w.Body.Len(), want)
			}
		})
	}
}

// A renamed portal redirects every call to its new address and runs none; at the
// new address it answers.
func TestRenamed(t *testing.T) {
	p := New(Config{RenamedTo: "https://new.example.com"})
	w := get(t, p, hook+"crm.deal.add?a=b%20c")
	if w.Code != http.StatusFound || w.Header().Get("Location") != "https://new.example.com"+hook+"crm.deal.add?a=b%20c" || p.Ran("crm.deal.add") != 0 {
		t.Errorf("got %d %v and %d run, want a redirect and none", w.Code, w.Header(), p.Ran("crm.deal.add"))
	}
	if w := get(t, p, "https://new.example.com"+hook+"crm.deal.add"); w.Code != 200 {
		t.Errorf("at the new address: got %d, want 200", w.Code)
	}
}
