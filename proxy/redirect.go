package proxy

import (
	"fmt"
	"net/http"

	"b24proxy/proxy/bitrix24"
)

// maxMoves bounds how often one call is redirected.
const maxMoves = 5

// moved tells whether an answer says that the portal was renamed: then the
// call goes to its new address, as it is. A client that followed the redirect
// itself would turn its POST into a GET (documented). Nothing has run.
//
// Clients who address the portal themselves get the redirect: they are to learn
// the new name.
func (t *transport) moved(ex *exchange, resp *http.Response) (to route, moved bool, failed *failure) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return route{}, false, nil
	}
	if !ex.route.call.REST() || ex.route.direct {
		return route{}, false, nil
	}
	defer func() {
		if failed != nil {
			failed.portalStatus = resp.StatusCode
		}
	}()
	location, err := resp.Location()
	if err != nil || resp.StatusCode == http.StatusSeeOther || location.Path != ex.route.url().Path {
		return route{}, false, &failure{
			status: http.StatusInternalServerError, code: "ERROR_UNEXPECTED_ANSWER", source: "portal", reason: "redirect",
			description: "The portal redirects to another page", outcome: portalError,
		}
	}
	to, failed = t.router.to(location.Host, ex.route.path+ex.route.query)
	if failed != nil {
		failed.description = fmt.Sprintf("The portal %s was moved to a host that is not allowed here. %s", ex.route.portal, failed.description)
		return route{}, false, failed
	}
	if ex.moves++; ex.moves > maxMoves || to.portal == ex.route.portal {
		return route{}, false, &failure{
			status: http.StatusServiceUnavailable, code: "PORTAL_UNREACHABLE", source: "portal", reason: "redirect_loop",
			description: "The portal redirects in a circle, or to itself", executed: bitrix24.No, outcome: unreachable,
		}
	}
	return to, true, nil
}
