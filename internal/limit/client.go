package limit

import "net/netip"

// Client returns the addresses that are counted as one client: an IPv4 address alone, or the /64 of an IPv6 address, in which a client
// can choose any. It is the zero Prefix for the zero Addr.
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
