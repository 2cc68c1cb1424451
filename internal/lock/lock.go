package lock

import (
	"context"
	"strconv"
	"time"
)

// TTL is how long a lock lives when nobody releases it. It is longer than any transaction may last (5 s), so that a
// live holder keeps its lock to the end.
const TTL = 10 * time.Second

// Key is the name of a product's lock wherever locks have names: inventory:product:7.
func Key(product int64) string {
	return string(strconv.AppendInt([]byte("inventory:product:"), product, 10))
}

// Locker locks products. Its methods may be called from any goroutine.
type Locker interface {
	// TryLock tries each of the products once, in ascending order, whatever order they come in; one named twice counts
	// once. It waits for no holder. Those that were free are held for the caller, under one new token, until Unlock or
	// for TTL; the others are reported busy. A product whose lock alone is unusable has failed: the caller goes on
	// with it under the database's locks alone, and does not unlock it. TryLock neither keeps nor changes the slice.
	//
	// An error says that the locks cannot be had, not that a product is busy: nothing is held that counts on being
	// released, and the caller goes on under the database's locks alone.
	TryLock(ctx context.Context, products []int64) (Grant, error)

	// Unlock releases those of the products whose holder is token, and leaves the others as they are, so that a holder
	// whose lock has expired cannot release its successor's. Releasing twice is no error. Hand in a context that
	// outlives the request. After an error the locks go by TTL.
	//
	// used says whether something was done under them, or, with no products, past the locks of others or, with no token, without
	// any because TryLock failed. Then a locker that keeps something about the products forgets it, and one that processes
	// share gives the lock to the longest waiter.
	// Locks that were of no use, because others were busy, are free for anybody: were each of them kept for somebody, two
	// who want the same ones could for ever give each other one of them.
	Unlock(ctx context.Context, token string, products []int64, used bool) error
}

// Grant is what TryLock got.
type Grant struct {
	Token  string  // of this call; see NewToken
	Held   []int64 // now held, ascending
	Busy   []Busy  // held by others, ascending
	Failed []int64 // neither, since their locks alone are unusable; ascending
}

// Busy is a product that somebody else holds.
type Busy struct {
	Product int64
	Token   string // the holder's, at the time of the try

	// Released is closed at the product's next release after the try: an Unlock by its holder or the lock's expiry,
	// and at the latest TTL after the try. It may be closed early: who is woken tries again and may find it busy.
	Released <-chan struct{}
}

// Features says what an adapter promises beyond Locker.
type Features struct {
	Shared bool // other processes see the locks
	Prompt bool // Released is closed before the Unlock that closes it returns; else soon after
}
