package config

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/alecthomas/kong"
)

// Option makes a parser of the command line understand the settings that its verbs embed: how their values are read,
// what --help says of them, and that what is not said by a flag comes from environ ("NAME=value", see os.Environ), then
// from the file that --config or ORDERFLOW_CONFIG names. Verbs that embed no settings are left alone.
func Option(environ []string) kong.Option {
	s := &sources{environ: environ, table: map[string]Setting{}}
	for _, setting := range Table() {
		s.table[setting.Flag] = setting
	}
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, option := range []kong.Option{
			// The parser takes no field of a struct type without a mapper, and asks before it can be told by name.
			kong.TypeMapper(reflect.TypeFor[Roles](), s),
			kong.TypeMapper(reflect.TypeFor[Rate](), s),
			kong.TypeMapper(reflect.TypeFor[Span](), s),
			kong.TypeMapper(reflect.TypeFor[Secret](), s),
			kong.TypeMapper(reflect.TypeFor[URL](), s),
			kong.PostBuild(s.describe),
			kong.WithBeforeResolve(s.load),
			kong.Resolvers(kong.ResolverFunc(s.resolve)),
		} {
			if err := option.Apply(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// sources is where the settings of one parse come from.
type sources struct {
	environ []string
	table   map[string]Setting // by flag

	loaded      bool
	environment map[string]string
	file        map[string]string
	path        string // of the file
}

// describe completes the flags of the parser that are settings.
func (s *sources) describe(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			if setting, ok := s.table[flag.Name]; ok {
				flag.Mapper = s
				setting.complete(flag)
			}
		}
		return next(nil)
	})
}

func (s Setting) complete(flag *kong.Flag) {
	flag.Default, flag.HasDefault = s.Default, s.Default != ""
	flag.Group = &kong.Group{Key: s.Group, Title: s.Group + ":"}
	flag.PlaceHolder = s.Value
	flag.Tag.Sep = -1 // lists are read here
	shown := s.Default
	if shown == "" {
		shown = "none"
	}
	flag.Help = fmt.Sprintf("%s (default: %s; environment: %s)", s.Help, shown, s.Env)
	flag.OrigHelp = flag.Help
}

// Decode implements kong.Mapper: it reads a flag's value by its row of the table.
func (s *sources) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	setting, ok := s.table[ctx.Value.Name]
	if !ok {
		return errors.New("is no setting, but has the type of one")
	}
	if next := ctx.Scan.Peek(); s.IsBoolFromValue(target) && next.Type != kong.FlagValueToken { // the flag alone
		if next.Value == "true" || next.Value == "false" {
			return fmt.Errorf("takes its value after an equals sign: --%s=%s", setting.Flag, next.Value)
		}
		target.SetBool(true)
		return nil
	}
	token, err := ctx.Scan.PopValue(setting.Value)
	if err != nil {
		return err
	}
	text, ok := token.Value.(string)
	if !ok {
		return fmt.Errorf("must be text, not %T", token.Value)
	}
	value, err := setting.parse(text)
	if err != nil {
		return err
	}
	target.Set(reflect.ValueOf(value))
	return nil
}

// IsBoolFromValue implements kong.BoolMapperExt: such a flag needs no value.
func (s *sources) IsBoolFromValue(target reflect.Value) bool { return target.Kind() == reflect.Bool }

// load reads environment and file, once, before the first flag asks, when the verb takes settings.
func (s *sources) load(ctx *kong.Context) error {
	if s.loaded {
		return nil
	}
	var config *kong.Flag
	takes := false
	for _, flag := range ctx.Flags() {
		_, isSetting := s.table[flag.Name]
		takes = takes || isSetting
		if flag.Name == "config" && isSetting {
			config = flag
		}
	}
	if !takes {
		return nil
	}
	s.loaded = true
	var err error
	if s.environment, err = environment(s.environ); err != nil {
		return err
	}
	if config == nil {
		return nil
	}
	s.path, _ = ctx.FlagValue(config).(string)
	if s.path == "" {
		name := s.table["config"].Env
		if s.path = s.environment[name]; quoted(s.path) {
			return quotedError(name)
		}
	}
	if s.path != "" {
		s.file, err = readFile(s.path)
	}
	return err
}

// resolve says what environment and file have for a flag that was not given; nil when nothing.
func (s *sources) resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	setting, ok := s.table[flag.Name]
	if !ok {
		return nil, nil
	}
	if value := s.environment[setting.Env]; value != "" {
		if quoted(value) {
			return nil, quotedError(setting.Env)
		}
		if _, err := setting.parse(value); err != nil {
			return nil, fmt.Errorf("%s in the environment %w", setting.Env, err)
		}
		return value, nil
	}
	if value := s.file[setting.Env]; value != "" {
		return value, nil
	}
	return nil, nil
}
