// Package config is the one table of settings. From it come the command line's flags and their help, the names in the
// environment, the keys of a settings file, and .env.example; a setting is added, changed or dropped in table.go and in
// the struct of its group, and nowhere else.
//
//	flags ──────────┐
//	environment ────┼── first one that says something ──▶ parse, strictly ──▶ Settings ──▶ Validate (relations)
//	--config FILE ──┤
//	default ────────┘
//
// A verb of the command line embeds Settings, or only the groups that it needs, and hands Option to its parser.
//
// What is strict about it:
//
//   - a value that is malformed or out of its bounds is an error, never corrected;
//   - a settings file is judged whole: unknown and repeated names, malformed lines and wrong values are errors even
//     where a flag or the environment would win, since the file has no other reader;
//   - a name in the environment that begins with ORDERFLOW_ must be a setting. Names such as DATABASE_URL, which other
//     programs use too, are judged only where their value would be used;
//   - an error is one line that names its source. Values of secrets, and of addresses that may carry a
//     password, never appear in it.
//
// An empty value in the environment or in the file counts as not said.
package config
