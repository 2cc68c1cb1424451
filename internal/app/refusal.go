package app

import "orderflow/internal/api"

// Write writes to the connection. What net/http answers by itself to a request that it cannot read is written in the shape of
// the API's errors instead.
func (c *limitedConn) Write(p []byte) (int, error) {
	answer := api.Refusal(p)
	if answer == nil {
		return c.TCPConn.Write(p)
	}
	if _, err := c.TCPConn.Write(answer); err != nil {
		return 0, err
	}
	return len(p), nil
}
