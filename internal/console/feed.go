package console

// authorizeChannel lets the page's WebSocket client subscribe to a private channel: it asks the API to sign that for who is
// logged in, from inside, as pages count against no rate limit. The API decides; the origin was checked already.
func (c *Console) authorizeChannel(v *requestContext) (any, error) {
	r := v.r.Clone(v.r.Context())
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/broadcasting/auth", "", ""
	r.Header.Set("X-Trace-Id", v.trace)
	c.options.Inside(v.who.acting()).ServeHTTP(v.w, r)
	return nil, errAnswered
}
