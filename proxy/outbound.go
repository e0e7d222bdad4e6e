package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// An outboundRefusal is the status with which the outbound proxy refused to carry a
// request. Nothing of it has reached the portal.
type outboundRefusal int

func (status outboundRefusal) Error() string {
	if status == http.StatusProxyAuthRequired {
		return "the outbound proxy (B24PROXY_OUTBOUND_PROXY) asks for a user and password"
	}
	return fmt.Sprintf("the outbound proxy (B24PROXY_OUTBOUND_PROXY) refused with status %d", int(status))
}

// checkConnect is called with the outbound proxy's answer to CONNECT.
func checkConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return outboundRefusal(resp.StatusCode)
	}
	return nil
}

// isFromOutboundProxy reports whether an answer to a request for a portal without TLS
// comes from the outbound proxy itself.
func isFromOutboundProxy(resp *http.Response) bool {
	return resp.Request.URL.Scheme == "http" &&
		resp.StatusCode == http.StatusProxyAuthRequired && resp.Header.Get("Proxy-Authenticate") != ""
}
