package app

import "testing"

func TestMaxConnections(t *testing.T) {
	if few, many := maxConnections(256), maxConnections(1); few < 1 || many < few || many > connectionsMax {
		t.Errorf("%d beside 256 charges, %d beside one", few, many)
	}
}
