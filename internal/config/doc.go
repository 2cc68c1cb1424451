// Package config is the one table of settings. The command line's flags and their help, the names in the environment, the keys of a
// settings file and .env.example are derived from it. To add, change or drop a setting, edit table.go and the struct of its group.
//
//	flags ──────────┐
//	environment ────┼── the first that has a value ──▶ parse ──▶ Settings ──▶ Validate (relations)
//	--config FILE ──┤
//	default ────────┘
//
// A command embeds Settings, or only the groups that it uses, and passes Option to its parser.
//
// Reading is strict:
//
//   - A value that is malformed or out of bounds is an error and is never corrected.
//   - A settings file is checked whole. Unknown and repeated names, malformed lines and invalid values are errors, even where a
//     flag or the environment overrides them, since the file has no other reader.
//   - A name in the environment that begins with ORDERFLOW_ must be a setting. Names such as DATABASE_URL, which other programs
//     use too, are checked only where their value is used.
//   - An error is one line that names its source. It never shows a secret, or an address that may contain a password.
//
// An empty value in the environment or in the file counts as not set. A former name of a setting (Setting.Alias) still works; the
// present name wins.
package config
