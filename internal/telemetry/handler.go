package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// handler is the slog.Handler of a Log. It copies records; the writer formats them.
type handler struct {
	log     *Log
	format  slog.Handler // has the attributes and groups of this handler
	grouped bool         // a group is open
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.options.Level.Level()
}

// Handle implements slog.Handler. It never blocks and returns nil.
func (h *handler) Handle(_ context.Context, record slog.Record) error {
	copied := slog.NewRecord(record.Time, record.Level, truncate(record.Message), 0)
	weight := lineWeight + len(copied.Message)
	record.Attrs(func(attr slog.Attr) bool {
		attr = h.resolve(attr)
		weight += attrWeight(attr)
		copied.AddAttrs(attr)
		return true
	})
	h.log.add(line{format: h.format, record: copied, weight: weight})
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	settled := make([]slog.Attr, len(attrs))
	for i, attr := range attrs {
		settled[i] = h.resolve(attr)
	}
	return &handler{log: h.log, format: h.format.WithAttrs(settled), grouped: h.grouped}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{log: h.log, format: h.format.WithGroup(name), grouped: true}
}

// The keys that every line has.
const (
	keyTime    = "timestamp"
	keyLevel   = "level"
	keyMessage = "message"
)

const (
	// maxText bounds a message and each value, in bytes.
	maxText = 16 << 10
	// lineWeight and itemWeight are the approximate memory of a record and of an attribute without their texts.
	lineWeight, itemWeight = 384, 48
)

// resolve copies the value of an attribute, so that the caller may change it: plain values stay, all others become text. It
// appends an underscore to a key that every line already has, since readers handle duplicate keys differently.
func (h *handler) resolve(attr slog.Attr) slog.Attr {
	if attr.Equal(slog.Attr{}) {
		return attr // an empty attribute is ignored
	}
	if !h.grouped {
		switch attr.Key {
		case keyTime, keyLevel, keyMessage, slog.TimeKey, slog.MessageKey:
			attr.Key += "_"
		}
	}
	attr.Value = resolved(attr.Value)
	return attr
}

func resolved(value slog.Value) slog.Value {
	switch value = value.Resolve(); value.Kind() {
	case slog.KindString:
		return slog.StringValue(truncate(value.String()))
	case slog.KindGroup:
		group := slices.Clone(value.Group())
		for i := range group {
			group[i].Value = resolved(group[i].Value)
		}
		return slog.GroupValue(group...)
	case slog.KindAny:
		if raw, ok := value.Any().([]byte); ok {
			return slog.StringValue(truncate(string(raw)))
		}
		return slog.StringValue(truncate(fmt.Sprintf("%+v", value.Any())))
	default:
		return value
	}
}

// truncate shortens a long text, and copies it so that the original can be freed.
func truncate(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.Clone(text[:maxText]) + "…"
}

func attrWeight(attr slog.Attr) int {
	weight := itemWeight + len(attr.Key)
	switch attr.Value.Kind() {
	case slog.KindString:
		weight += len(attr.Value.String())
	case slog.KindGroup:
		for _, member := range attr.Value.Group() {
			weight += attrWeight(member)
		}
	}
	return weight
}

// newFormat returns the handler that formats records as lines. The handlers of the standard library quote all characters that
// could end a value or a line.
func newFormat(out *bytes.Buffer, text bool) slog.Handler {
	options := &slog.HandlerOptions{
		Level: slog.Level(-1 << 20), // handler has already checked the level
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			return replaceAttr(groups, attr, text)
		},
	}
	if text {
		return slog.NewTextHandler(out, options)
	}
	return slog.NewJSONHandler(out, options)
}

// replaceAttr sets the keys that every line has, and formats times as RFC 3339 in UTC with microseconds, and durations in JSON as a
// number of seconds.
func replaceAttr(groups []string, attr slog.Attr, text bool) slog.Attr {
	if len(groups) == 0 {
		switch {
		case attr.Key == slog.TimeKey:
			attr.Key = keyTime
		case attr.Key == slog.MessageKey:
			attr.Key = keyMessage
		case attr.Key == slog.LevelKey && attr.Value.Kind() == slog.KindAny:
			attr.Value = slog.StringValue(strings.ToLower(attr.Value.String()))
		}
	}
	switch attr.Value.Kind() {
	case slog.KindTime:
		attr.Value = slog.StringValue(attr.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z"))
	case slog.KindDuration:
		if text {
			attr.Value = slog.StringValue(attr.Value.Duration().Round(time.Microsecond).String())
		} else {
			attr.Value = slog.Float64Value(attr.Value.Duration().Seconds())
		}
	}
	return attr
}
