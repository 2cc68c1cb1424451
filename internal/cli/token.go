package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

type tokenCommand struct {
	Create tokenCreateCommand `cmd:"" help:"Create a token and print it once, alone on the last line."`
	Revoke tokenRevokeCommand `cmd:"" help:"Revoke a token."`
	List   tokenListCommand   `cmd:"" help:"List the newest tokens, without their secrets."`
}

// Bounds of a token.
const (
	maxTokenExpiry = 10 * 365 * 24 * time.Hour
	maxTokenName   = 255 // characters
)

type tokenCreateCommand struct {
	config.Common
	config.Store
	User    string        `help:"User that the token acts for: e-mail address or id." placeholder:"USER"`
	Admin   bool          `help:"Allow the token to act for every user, and to use the admin API."`
	Expires time.Duration `help:"Lifetime of the token, such as 720h (default: 0, no expiry)." default:"0" placeholder:"DURATION"`
	Name    string        `help:"Name of the token in lists." placeholder:"TEXT"`
}

// Validate is called by the parser.
func (c tokenCreateCommand) Validate() error {
	switch {
	case c.User == "" && !c.Admin:
		return errors.New("set --user, --admin or both: a token is for a user (--user), for an admin (--admin), or for both")
	case c.Expires < 0 || c.Expires > maxTokenExpiry:
		return fmt.Errorf("--expires: %s is not from 0 to %s", c.Expires, maxTokenExpiry)
	case utf8.RuneCountInString(c.Name) > maxTokenName || !printable(c.Name):
		return fmt.Errorf("--name: must be up to %d printable characters", maxTokenName)
	}
	return nil
}

func printable(text string) bool {
	for _, r := range text {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// Run creates a token.
func (c tokenCreateCommand) Run(ctx context.Context, streams Streams) error {
	return withSchema(ctx, databaseSettings(c.Store), func(db *app.Database) error {
		about := app.Token{Name: c.Name, Admin: c.Admin}
		if c.User != "" {
			id, err := strconv.ParseInt(c.User, 10, 64)
			if err != nil || id < 1 {
				user, err := db.UserByEmail(ctx, c.User)
				if err != nil {
					return fmt.Errorf("--user %q: %w", c.User, err)
				}
				id = user.ID
			}
			about.UserID = id
		}
		token, about, err := db.NewToken(ctx, about, c.Expires)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(streams.Out, "Token %d, for %s, valid until %s. It is printed only once:\n%s\n",
			about.ID, tokenOwner(about), timeOr(about.ExpiresAt, "it is revoked"), token)
		return err
	})
}

// tokenOwner describes the owner of a token.
func tokenOwner(t app.Token) string {
	switch {
	case t.UserID == 0:
		return "an admin"
	case t.Admin:
		return fmt.Sprintf("user %d as an admin", t.UserID)
	default:
		return fmt.Sprintf("user %d", t.UserID)
	}
}

// timeOr formats a time, or returns none for the zero time.
func timeOr(at time.Time, none string) string {
	if at.IsZero() {
		return none
	}
	return at.UTC().Format(time.DateTime)
}

type tokenRevokeCommand struct {
	config.Common
	config.Store
	ID int64 `arg:"" help:"Id of the token, as token list shows it."`
}

// Run revokes a token.
func (r tokenRevokeCommand) Run(ctx context.Context, streams Streams) error {
	return withSchema(ctx, databaseSettings(r.Store), func(db *app.Database) error {
		err := db.RevokeToken(ctx, r.ID)
		if err == nil {
			_, err = fmt.Fprintf(streams.Out, "Token %d is revoked. Running servers refuse it within five seconds.\n", r.ID)
		}
		return err
	})
}

type tokenListCommand struct {
	config.Common
	config.Store
}

// Run lists tokens.
func (l tokenListCommand) Run(ctx context.Context, streams Streams) error {
	return withSchema(ctx, databaseSettings(l.Store), func(db *app.Database) error {
		list, err := db.Tokens(ctx)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			_, err := fmt.Fprintln(streams.Out, "There are no tokens.")
			return err
		}
		rows := []string{"ID\tFOR\tSTATE\tCREATED\tEXPIRES\tNAME"}
		for _, t := range list {
			state := "valid"
			switch {
			case !t.RevokedAt.IsZero():
				state = "revoked"
			case !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(time.Now()):
				state = "expired"
			}
			rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s",
				t.ID, tokenOwner(t), state, timeOr(t.CreatedAt, ""), timeOr(t.ExpiresAt, "never"), oneLine(t.Name)))
		}
		return writeTable(streams.Out, rows)
	})
}
