package config

// codec reads and prints one kind of value. What print gives, parse reads as the same value. An error of parse goes
// after a name: "must be …".
type codec[T any] struct {
	parse func(text string) (T, error)
	print func(value T) string
	show  func(value T) string // print for everybody's eyes; nil where print is
}

// binding ties a row of the table to its field in Settings.
type binding struct {
	parse func(text string) (any, error)       // into a value of the field's type
	set   func(s *Settings, text string) error // parse into the field
	print func(s *Settings) string             // the field, as parse reads it
	show  func(s *Settings) string             // the field, as it may be shown
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
