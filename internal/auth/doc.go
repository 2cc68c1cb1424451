// Package auth knows passwords and tokens, and so who calls.
//
// Passwords are kept as argon2id hashes, each of which takes 19 MiB and some thirty milliseconds of a processor to compute:
// that is what makes guessing slow, and a storm of log-ins dangerous. So only as many are computed at once as there are
// processors; a bounded queue stands before them, with a bounded wait, and whoever finds no room is told so. What is done
// with waits for the collector, which lets several times as much gather as is in use: a server that two hundred clients stormed
// at once was seen to grow to 250 MB on two processors. An address that nobody has
// is checked against a hash that nothing fits, so that neither the answer nor the time tells who has an account.
//
// Tokens are "of_" and 26 random characters of base32 (130 bits), and are kept as their SHA-256: there is nothing to guess
// that a slow hash would have to protect. What a look-up said is remembered for up to five seconds, so long may a token that
// was taken back elsewhere go on; those who ask for one token at the same time share a look-up, and few look-ups run at once.
// What is no token by its form never gets as far as the database.
package auth
