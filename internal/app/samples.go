package app

import (
	"context"

	"orderflow/internal/config"
)

// countSampleLogins counts the sample users that can log in. It warns of them where callers need a token, which everybody can get.
func (s *Server) countSampleLogins(ctx context.Context) (err error) {
	if !s.settings.Roles.API {
		return nil
	}
	s.logins, err = s.db.SampleLogins(ctx)
	if err == nil && s.logins > 0 && s.settings.Auth == config.AuthRequired {
		s.log.Logger().WarnContext(ctx, "Sample users can log in with a password that everybody knows. "+
			"Use a database without them, or set their password_hash to '' in the table users.", "event", "samples.known_password", "users", s.logins)
	}
	return err
}

// SampleLogins is how many sample users could log in at start; 0 without the role api.
func (s *Server) SampleLogins() int { return s.logins }

// AddedSamples reports whether Start has added the sample data.
func (s *Server) AddedSamples() bool { return s.samples }

// Empty reports whether there was neither a user nor a product at start.
func (s *Server) Empty() bool { return s.empty }
