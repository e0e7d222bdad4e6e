package main

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"strings"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// Both dashboards give a code the same colour. These are the codes of calls that
// count as failed, which a reader must tell apart at a glance, and the few that
// callers see most.
var ownColours = map[bitrix24.Code]string{
	bitrix24.CodeQueryLimitExceeded: "orange",
	bitrix24.CodeUnexpectedAnswer:   "red",
	bitrix24.CodeOverloadLimit:      "dark-red",
	bitrix24.CodeOperationTimeLimit: "semi-dark-purple",
	"PORTAL_UNREACHABLE":            "purple",
	"INTERNAL_SERVER_ERROR":         "yellow",
	"PORTAL_DELETED":                "blue",
	"REQUEST_NOT_KEPT":              "dark-orange",
	"INTERNAL_WRONG_TRANSPORT":      "light-yellow",
	"INTERNAL_WRONG_HANDLER_CLASS":  "super-light-yellow",

	"BITRIX_REST_V3_EXCEPTION_INTERNAL_INTERNALEXCEPTION": "dark-yellow",
	"BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION":         "light-orange",
}

// proxyCodes are the codes that only the proxy has, for requests that cannot be
// sent as they are.
var proxyCodes = []bitrix24.Code{
	"PORTAL_NOT_NAMED", "PORTAL_NOT_ALLOWED", "CLIENT_NOT_ALLOWED", "CONNECT_NOT_ENABLED", "REQUEST_NOT_READ",
	"REQUEST_TOO_LARGE", "CALL_MAY_HAVE_RUN", "IDEMPOTENCY_KEY_REUSED",
}

// hues of the other codes, in degrees, by what somebody has to do about them.
var hues = map[bitrix24.Category]float64{
	bitrix24.CategoryAuth:    210,
	bitrix24.CategoryAccess:  265,
	bitrix24.CategoryRequest: 165,

	bitrix24.CategoryInternal: 330,
}

// codeColours returns the colour of each code that can be a label.
func codeColours() map[bitrix24.Code]string {
	colours := make(map[bitrix24.Code]string)
	shades := make(map[bitrix24.Category]int)
	add := func(code bitrix24.Code, category bitrix24.Category) {
		if colours[code] = ownColours[code]; colours[code] == "" {
			colours[code] = shade(hues[category], shades[category])
			shades[category]++
		}
	}
	for _, e := range bitrix24.SystemErrors() {
		add(e.Code, e.Category)
	}
	for _, code := range proxyCodes {
		add(code, bitrix24.CategoryRequest)
	}
	maps.Copy(colours, ownColours)
	return colours
}

// shade returns the n-th colour of a hue, as #rrggbb.
func shade(hue float64, n int) string {
	hue += float64(n/4) * 12
	light := 0.75 - 0.13*float64(n%4)
	channel := func(offset float64) int {
		k := math.Mod(offset+hue/30, 12)
		return int(math.Round(255 * (light - 0.6*min(light, 1-light)*max(-1, min(k-3, 9-k, 1)))))
	}
	return fmt.Sprintf("#%02x%02x%02x", channel(0), channel(8), channel(4))
}

// failed reports whether calls that end with a code count as failed. Its status
// decides; deploy/README.md says what availability means.
func failed(e bitrix24.SystemError) bool { return e.Status >= 500 }

// failureCodes are the codes of failed calls, in the order of the table.
func failureCodes() []bitrix24.Code {
	var codes []bitrix24.Code
	for _, e := range bitrix24.SystemErrors() {
		if failed(e) {
			codes = append(codes, e.Code)
		}
	}
	return append(codes, "PORTAL_UNREACHABLE", "REQUEST_NOT_KEPT")
}

// otherCodes are all other codes of the table and of the proxy.
func otherCodes() []bitrix24.Code {
	var codes []bitrix24.Code
	for _, e := range bitrix24.SystemErrors() {
		if !failed(e) {
			codes = append(codes, e.Code)
		}
	}
	return append(codes, proxyCodes...)
}

// colouredByCode gives each series its code's colour. The code is a word of the
// series' name.
func (p panel) colouredByCode(codes []bitrix24.Code) panel {
	colours := codeColours()
	for _, code := range codes {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
			Matcher:    matcher{ID: "byRegexp", Options: "/(^| )" + regexp.QuoteMeta(string(code)) + "( |$)/"},
			Properties: []property{colour(colours[code])},
		})
	}
	return p
}

// codeMappings colours the cells of a table that name a code.
func codeMappings(codes []bitrix24.Code) property {
	colours, options := codeColours(), make(map[string]any)
	for i, code := range codes {
		options[string(code)] = map[string]any{"color": colours[code], "index": i}
	}
	return property{"mappings", []any{map[string]any{"type": "value", "options": options}}}
}

// alternatives joins codes to a pattern of PromQL.
func alternatives(codes []bitrix24.Code) string {
	words := make([]string, len(codes))
	for i, code := range codes {
		words[i] = string(code)
	}
	return strings.Join(words, "|")
}

// outcomeColours are those of series that are named after an outcome, and after a
// status class where an outcome can be good or bad.
var outcomeColours = []struct{ name, colour string }{
	{string(metrics.OK), "green"},
	{string(metrics.MethodError), "light-blue"},
	{string(metrics.PortalError) + " 4xx", "blue"},
	{string(metrics.PortalError) + " 5xx", "red"},
	{string(metrics.Rejected) + " 4xx", "light-yellow"},
	{string(metrics.Rejected) + " 5xx", "orange"},
	{string(metrics.Unreachable), "purple"},
	{string(metrics.Abandoned), "text"},
}
