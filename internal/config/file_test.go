package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const secretName = "ORDERFLOW_GATEWAY_SECRET"

// compose-go's dotenv and systemd 252 to 257 read the same values.
func TestFileValues(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"without quotes":                    {`s3cret`, `s3cret`},
		"empty":                             {``, ``},
		"white space after the value":       {"s3cret \t", `s3cret`},
		"space within":                      {`two words`, `two words`},
		"number sign without a space":       {`a#b`, `a#b`},
		"number sign at the beginning":      {`#a`, `#a`},
		"quotes within":                     {`it's 3" wide`, `it's 3" wide`},
		"equals sign":                       {`a=b==`, `a=b==`},
		"end of line of Windows":            {"s3cret\r", `s3cret`},
		"double quotes":                     {`"s3cret"`, `s3cret`},
		"double quotes, empty":              {`""`, ``},
		"double quotes, spaces":             {`" a "`, ` a `},
		"double quotes, comment sign":       {`"a # b"`, `a # b`},
		"double quotes, single ones":        {`"'s3cret'"`, `'s3cret'`},
		"double quotes, space after them":   {"\"s3cret\" \t\r", `s3cret`},
		"single quotes":                     {`'s3cret'`, `s3cret`},
		"single quotes, empty":              {`''`, ``},
		"single quotes, dollar":             {`'pa$$word ${x}'`, `pa$$word ${x}`},
		"single quotes, backslash":          {`'a\n\\b\"'`, `a\n\\b\"`},
		"single quotes, double ones":        {`'"s3cret"'`, `"s3cret"`},
		"single quotes, comment sign":       {`'a # b'`, `a # b`},
		"single quotes, space after them":   {`'s3cret'  `, `s3cret`},
		"single quotes, end of the line":    {"'s3cret'\r", `s3cret`},
		"white space before the line":       {"s3cret\n \t# a comment\n \t", `s3cret`},
		"comment with characters of syntax": {"s3cret\n# $x \\ 'y \"z ; export A=b", `s3cret`},
	} {
		t.Run(name, func(t *testing.T) {
			values, err := parseFile("f", []byte(secretName+"="+c.text+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got := values[secretName]; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Compose and systemd read these lines differently, or one of them refuses or ignores the line.
func TestFileRefused(t *testing.T) {
	const value = "hunter2"
	set := secretName + "="
	for name, c := range map[string]struct{ data, want string }{
		"dollar":                             {set + "a$" + value, "f:1: " + secretName + ": put the value in single quotes"},
		"dollar in double quotes":            {set + `"a$` + value + `"`, "put the value in single quotes instead of double ones"},
		"backslash":                          {set + `a\` + value, "put the value in single quotes"},
		"backslash in double quotes":         {set + `"a\` + value + `"`, "put the value in single quotes instead of double ones"},
		"line that goes on":                  {set + value + "\\\nx\n", "f:1: " + secretName + ": put the value in single quotes"},
		"backslash before the closing quote": {set + `'` + value + `\'`, `the value ends with \`},
		"comment after the value":            {set + value + " # mine", "put the comment on a line of its own"},
		"comment after a quoted value":       {set + `"` + value + `" # mine`, "remove the text after the closing quote"},
		"text after the closing quote":       {set + `'` + value + `'x`, "remove the text after the closing quote"},
		"two quoted texts":                   {set + `'` + value + `''x'`, "remove the text after the closing quote"},
		"quote escaped within":               {set + `"a\"` + value + `"`, "remove the text after the closing quote"},
		"open double quote":                  {set + `"` + value, "the closing quote is missing"},
		"open single quote":                  {set + `'` + value, "the closing quote is missing"},
		"one quote alone":                    {set + `'`, "the closing quote is missing"},
		"value over two lines":               {set + `"` + value + "\n" + `x"` + "\n", "f:1: " + secretName + ": the closing quote is missing"},
		"export":                             {"export " + set + value, "remove export before the name"},
		"space before the equals sign":       {secretName + " =" + value, "remove the spaces around the ="},
		"space after the equals sign":        {set + " " + value, "remove the spaces around the ="},
		"quotes after a space":               {set + " '" + value + "'", "remove the spaces around the ="},
		"colon":                              {secretName + ": " + value, "is not NAME=value"},
		"name without a value":               {"\n" + secretName + "\n", "f:2: is not NAME=value"},
		"value without a name":               {"=" + value, "is not NAME=value"},
		"name in quotes":                     {`"` + secretName + `"=` + value, "is not NAME=value"},
		"end of a secret":                    {set + "x\n" + value + "=\n", "f:2: is not NAME=value"},
		"comment of systemd alone":           {";" + set + value, "is not NAME=value"},
		"comment that goes on":               {"# C:\\\n" + set + value + "\n", `f:1: is a comment that ends with \`},
		"comment with a line within":         {"# a\r" + set + value + "\n", "f:1: has characters that cannot be printed"},
		"comment with NUL":                   {"# a\x00", "has characters that cannot be printed"},
		"same name twice":                    {set + "x\n\n" + set + value, "f:3: " + secretName + " is set twice, first in line 1"},
		"byte order mark":                    {"\ufeff" + set + value, "f:1: begins with a byte order mark; save the file as UTF-8 without one"},
		"UTF-16":                             {"O\x00R\x00", "f:1: has characters that cannot be printed; save the file as UTF-8"},
		"NUL":                                {set + value + "\x00", "has characters that cannot be printed"},
		"not UTF-8":                          {set + value + "\xe9", "has characters that cannot be printed"},
		"carriage return within":             {set + value + "\rx\n", "has characters that cannot be printed"},
		"tab within":                         {set + value + "\tx\n", "has characters that cannot be printed"},
		"no-break space":                     {set + value + "\u00a0\n", "has characters that cannot be printed"},
		"escape sequence":                    {set + value + "\x1b[31m\n", "has characters that cannot be printed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseFile("f", []byte(c.data))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an error with %q", err, c.want)
			}
			if strings.Contains(err.Error(), value) {
				t.Errorf("the error shows the value: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Errorf("the error is not one line of text: %q", err)
			}
		})
	}
}

// Some programs that start processes keep quotes, others remove them, so that two processes would have different secrets.
func TestQuotesInTheEnvironment(t *testing.T) {
	for name, c := range map[string]struct{ entry, want string }{
		"secret in single quotes":  {secretName + "='hunter2'", secretName + " in the environment begins and ends with a quote"},
		"secret in double quotes":  {secretName + `="hunter2"`, secretName + " in the environment begins and ends with a quote"},
		"address in quotes":        {`DATABASE_URL="mysql://u:hunter2@h/d"`, "DATABASE_URL in the environment begins and ends with a quote"},
		"prefix in quotes":         {`REDIS_PREFIX='hunter2:'`, "REDIS_PREFIX in the environment begins and ends with a quote"},
		"settings file in quotes":  {`ORDERFLOW_CONFIG="shop.env"`, "ORDERFLOW_CONFIG in the environment begins and ends with a quote"},
		"quote at the end":         {secretName + "=hunter2'", ""},
		"quotes of two kinds":      {secretName + `='hunter2"`, ""},
		"quote that is all of it":  {secretName + `='`, ""},
		"quotes within":            {secretName + `=a'b'c`, ""},
		"in quotes and not a name": {`PATH_OF_MINE='x'`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, []string{"serve"}, []string{c.entry}, "")
			switch {
			case c.want == "" && err != nil:
				t.Errorf("unexpected: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want an error with %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the value: %v", err)
			}
		})
	}
}

// Parsing any file ends, and accepted values are accepted again when printed.
func FuzzFile(f *testing.F) {
	f.Add("# General\n\n#ORDERFLOW_BATCH_MAX=3\nORDERFLOW_BACKOFF=1s,3s\nDATABASE_URL=sqlite:x.db\n")
	f.Add("ORDERFLOW_BATCH_MAX=3\r\nORDERFLOW_SIMULATED_SEED=\"a # b\"\n\n# x")
	f.Add("ORDERFLOW_BATCH_MAX=\"\n=\n")
	f.Add(secretName + "='a\\$ # b'\n" + "ORDERFLOW_SIMULATED_SEED=it's \" x\n")
	f.Fuzz(func(t *testing.T, data string) {
		values, err := parseFile("f", []byte(data))
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Fatalf("error %q", err)
			}
			return
		}
		var again strings.Builder
		for _, name := range slices.Sorted(maps.Keys(values)) {
			again.WriteString(name + "=" + inQuotes(values[name]) + "\n")
		}
		reread, err := parseFile("f", []byte(again.String()))
		if err != nil {
			t.Fatalf("%q: %v", again.String(), err)
		}
		if !reflect.DeepEqual(values, reread) {
			t.Fatal(cmp.Diff(values, reread))
		}
	})
}

// inQuotes returns a value as a settings file has it: in single quotes if possible, else in double quotes, else without quotes.
func inQuotes(value string) string {
	switch {
	case !strings.Contains(value, "'") && !strings.HasSuffix(value, `\`):
		return "'" + value + "'"
	case !strings.ContainsAny(value, `"$\`):
		return `"` + value + `"`
	default:
		return value
	}
}
