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

type tokens struct {
	Create tokenCreate `cmd:"" help:"Make a token and print it, this once, alone on the last line."`
	Revoke tokenRevoke `cmd:"" help:"Take a token back."`
	List   tokenList   `cmd:"" help:"List the newest tokens, without their secrets."`
}

// Bounds of what a token may be told.
const (
	maxTokenExpiry = 10 * 365 * 24 * time.Hour
	maxTokenName   = 255 // characters
)

type tokenCreate struct {
	config.Common
	config.Store
	User    string        `help:"Whom it may act for, by e-mail address or id." placeholder:"USER"`
	Admin   bool          `help:"May act for everybody and run the shop."`
	Expires time.Duration `help:"How long it is good for, such as 720h; 0 for ever." default:"0" placeholder:"DURATION"`
	Name    string        `help:"What to call it." placeholder:"TEXT"`
}

// Validate is called by the parser.
func (c tokenCreate) Validate() error {
	switch {
	case c.User == "" && !c.Admin:
		return errors.New("a token is for a user (--user), for an admin (--admin), or for both")
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

// Run makes a token.
func (c tokenCreate) Run(ctx context.Context, streams Streams) error {
	return withSchema(ctx, ofStore(c.Store), func(db *app.Database) error {
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
		_, err = fmt.Fprintf(streams.Out, "Token %d, for %s, good until %s. It is shown this once:\n%s\n",
			about.ID, tokenFor(about), orElse(about.ExpiresAt, "it is taken back"), token)
		return err
	})
}

// tokenFor says whose a token is.
func tokenFor(t app.Token) string {
	switch {
	case t.UserID == 0:
		return "an admin"
	case t.Admin:
		return fmt.Sprintf("user %d as an admin", t.UserID)
	default:
		return fmt.Sprintf("user %d", t.UserID)
	}
}

// orElse is a time for people, or what stands for none.
func orElse(at time.Time, none string) string {
	if at.IsZero() {
		return none
	}
	return at.UTC().Format(time.DateTime)
}

type tokenRevoke struct {
	config.Common
	config.Store
	ID int64 `arg:"" help:"The token, as token list shows it."`
}

// Run takes a token back.
func (r tokenRevoke) Run(ctx context.Context, streams Streams) error {
	return withSchema(ctx, ofStore(r.Store), func(db *app.Database) error {
		err := db.RevokeToken(ctx, r.ID)
		if err == nil {
			_, err = fmt.Fprintf(streams.Out, "Token %d counts no more. Servers that have just seen it know within five seconds.\n", r.ID)
		}
		return err
	})
}

type tokenList struct {
	config.Common
	config.Store
}

// Run lists tokens.
func (l tokenList) Run(ctx context.Context, streams Streams) error {
	return withSchema(ctx, ofStore(l.Store), func(db *app.Database) error {
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
				t.ID, tokenFor(t), state, orElse(t.CreatedAt, ""), orElse(t.ExpiresAt, "never"), oneLine(t.Name)))
		}
		return writeTable(streams.Out, rows)
	})
}
