package config

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/alecthomas/kong"
)

// Option makes a parser of the command line read the settings that its commands embed, and describe them in --help. A setting without
// a flag comes from environ ("NAME=value", see os.Environ), then from the file that --config or ORDERFLOW_CONFIG names. Commands
// that embed no settings are unaffected.
func Option(environ []string) kong.Option {
	s := &sources{environ: environ, table: map[string]Setting{}}
	for _, setting := range Table() {
		s.table[setting.Flag] = setting
	}
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, option := range []kong.Option{
			// The parser needs a mapper for a field of a struct type before describe can set one by the flag's name.
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

// sources are the sources of the settings of one parse.
type sources struct {
	environ []string
	table   map[string]Setting // by flag

	loaded      bool
	environment map[string]string
	file        map[string]string
	path        string // of the file
}

// describe completes the flags that are settings.
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
	if s.Alias != "" {
		flag.Aliases = []string{s.Alias}
	}
	flag.Help = fmt.Sprintf("%s (default: %s; environment: %s)", s.Help, s.defaultText(), s.Env)
	flag.OrigHelp = flag.Help
}

// Decode implements kong.Mapper: it reads the value of a flag by its row of the table.
func (s *sources) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	setting, ok := s.table[ctx.Value.Name]
	if !ok {
		return errors.New("has the type of a setting, but is not in the table")
	}
	if next := ctx.Scan.Peek(); s.IsBoolFromValue(target) && next.Type != kong.FlagValueToken { // the flag without a value
		if next.Value == "true" || next.Value == "false" {
			return fmt.Errorf("needs an equals sign before its value: --%s=%s", setting.Flag, next.Value)
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

// IsBoolFromValue implements kong.BoolMapperExt: a switch needs no value.
func (s *sources) IsBoolFromValue(target reflect.Value) bool { return target.Kind() == reflect.Bool }

// load reads the environment and the file once, before the first flag is resolved, if the command has settings.
func (s *sources) load(ctx *kong.Context) error {
	if s.loaded {
		return nil
	}
	var config *kong.Flag
	needed := false
	for _, flag := range ctx.Flags() {
		_, isSetting := s.table[flag.Name]
		needed = needed || isSetting
		if flag.Name == "config" && isSetting {
			config = flag
		}
	}
	if !needed {
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

// resolve returns the value of a flag that was not given, from the environment or the file; nil for none.
func (s *sources) resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	setting, ok := s.table[flag.Name]
	if !ok {
		return nil, nil
	}
	for _, name := range setting.names() {
		value := s.environment[name]
		if value == "" {
			continue
		}
		if quoted(value) {
			return nil, quotedError(name)
		}
		if _, err := setting.parse(value); err != nil {
			return nil, fmt.Errorf("%s in the environment %w", name, err)
		}
		return value, nil
	}
	for _, name := range setting.names() {
		if value := s.file[name]; value != "" {
			return value, nil
		}
	}
	return nil, nil
}
