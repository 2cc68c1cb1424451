// Package auth checks passwords and tokens.
//
// Passwords are stored as argon2id hashes. Computing one takes 19 MiB and some thirty milliseconds of a processor. That makes guessing
// slow, but many log-ins at once dangerous. So only as many hashes are computed at once as there are processors; a bounded number of
// log-ins waits for a bounded time, and the others are refused as overloaded. The memory of computed hashes waits for the garbage
// collector, which lets several times the memory in use gather: a server on two processors grew to 250 MB under two hundred log-ins at
// once. An unknown e-mail address is checked against a hash that no password matches, so neither the answer nor its time reveals
// whether an account exists.
//
// Tokens are "of_" and 26 random characters of base32 (130 bits). They are stored as their SHA-256: a slow hash would protect nothing,
// since they cannot be guessed. Checks are cached for up to five seconds, which is how long a token that another process revoked may
// still be accepted. Concurrent checks of one token share a look-up, and few look-ups run at once. A malformed token is refused without
// a look-up.
package auth
