package limit

import "net/netip"

// Client is who counts as one client with an address: the address itself, or of IPv6 its /64, in which a client may choose.
// It is the zero Prefix for the zero Addr.
func Client(addr netip.Addr) netip.Prefix {
	addr = addr.WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil { // the zero Addr has no bits
		return netip.Prefix{}
	}
	return prefix
}
