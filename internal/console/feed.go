package console

// authorizeChannel lets the page's WebSocket client subscribe to a private channel: it asks the API to sign that for who is
// logged in. The API decides; the origin was checked already.
func (c *Console) authorizeChannel(v *visit) (any, error) {
	r := v.r.Clone(v.r.Context())
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/broadcasting/auth", "", ""
	for _, name := range []string{"Cookie", "Authorization"} {
		r.Header.Del(name)
	}
	r.Header.Set("X-Trace-Id", v.trace)
	if v.who.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.who.token)
	}
	c.options.API.ServeHTTP(v.w, r)
	return nil, errAnswered
}
