package config

// codec parses and prints one kind of value; parse returns the value that print was given. An error of parse follows the name of
// the setting: "must be …".
type codec[T any] struct {
	parse func(text string) (T, error)
	print func(value T) string
	show  func(value T) string // print with secrets redacted; nil where that is print
}

// binding ties a row of the table to its field in Settings.
type binding struct {
	parse func(text string) (any, error)       // returns a value of the field's type
	set   func(s *Settings, text string) error // parses into the field
	print func(s *Settings) string             // the field, as parse reads it
	show  func(s *Settings) string             // the field, with secrets redacted
}

func bind[T any](field func(*Settings) *T, c codec[T]) binding {
	show := c.show
	if show == nil {
		show = c.print
	}
	return binding{
		parse: func(text string) (any, error) { return c.parse(text) },
		set: func(s *Settings, text string) error {
			value, err := c.parse(text)
			if err == nil {
				*field(s) = value
			}
			return err
		},
		print: func(s *Settings) string { return c.print(*field(s)) },
		show:  func(s *Settings) string { return show(*field(s)) },
	}
}
