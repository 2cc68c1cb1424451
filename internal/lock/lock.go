package lock

import (
	"context"
	"strconv"
	"time"
)

// TTL is the time to live of a lock. It is longer than the time limit of a transaction (5 s), so that the lock of a live owner does
// not expire.
const TTL = 10 * time.Second

// Key returns the name of a product's lock, such as inventory:product:7.
func Key(product int64) string {
	return string(strconv.AppendInt([]byte("inventory:product:"), product, 10))
}

// Locker locks products. Its methods are safe for concurrent use.
type Locker interface {
	// TryLock tries to lock each of the products once, in ascending order, without waiting. Duplicates count once. It neither
	// keeps nor changes the slice.
	//
	// Free products are locked under one new token until Unlock or for TTL; the others are busy. A product has failed when its
	// lock alone cannot be used: the caller continues under the locks of the database, and does not unlock it.
	//
	// An error means that no lock can be taken, not that a product is busy. The caller continues under the locks of the database
	// and need not unlock.
	TryLock(ctx context.Context, products []int64) (Grant, error)

	// Unlock releases the products that token has locked. It ignores the others, so that an owner whose lock has expired cannot
	// release that of its successor, and a repeated call is harmless. Pass a context that outlives the request. After an error the
	// locks expire by TTL.
	//
	// used reports that the caller changed stock: under the locks of products; despite the locks of others, if products is
	// empty; or under no locks, if token is empty because TryLock failed. A locker that caches products then invalidates them,
	// and a shared one passes the lock to the longest waiter. Unused locks, of a caller that met a busy product, are free for
	// everyone: if they were passed on as well, two callers with the same products could forever pass one lock each to the
	// other.
	Unlock(ctx context.Context, token string, products []int64, used bool) error
}

// Grant is the result of TryLock. Its slices ascend.
type Grant struct {
	Token  string // of this call; see NewToken
	Locked []int64
	Busy   []Busy  // locked by others
	Failed []int64 // neither, because the lock of this product cannot be used
}

// Busy is a product that another caller has locked.
type Busy struct {
	Product int64
	Token   string // of the owner, at the time of the try

	// Released closes at the product's next release after the try: by Unlock or by expiry, at the latest TTL after the try. It may
	// close early, so that the waiter's next try finds the product busy again.
	Released <-chan struct{}
}

// Features are the promises of an adapter beyond Locker.
type Features struct {
	Shared bool // other processes see the locks
	Prompt bool // Unlock closes Released before it returns; otherwise soon after
}
