package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// File is an embedded file in two forms, plain and gzipped. The form that is not embedded is computed for the first request that needs it,
// since most servers never need it. All requests then share it. The methods may be called from any goroutine; callers must not
// change the bytes.
type File struct {
	plain, packed func() ([]byte, error)
}

// NewFile returns the File of embedded content, which is gzipped or plain.
func NewFile(content []byte, gzipped bool) *File {
	embedded := func() ([]byte, error) { return content, nil }
	if gzipped {
		return &File{packed: embedded, plain: sync.OnceValues(func() ([]byte, error) { return unpack(content) })}
	}
	return &File{plain: embedded, packed: sync.OnceValues(func() ([]byte, error) { return pack(content) })}
}

// Content returns the file in one of its forms. An error means that the embedded content is damaged.
func (f *File) Content(gzipped bool) ([]byte, error) {
	if gzipped {
		return f.packed()
	}
	return f.plain()
}

func unpack(packed []byte) (plain []byte, err error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack an embedded file: %w", err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	plain, err = io.ReadAll(reader)
	return bytes.Clone(plain), err // without the unused capacity of ReadAll
}

func pack(plain []byte) ([]byte, error) {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, err := writer.Write(plain)
	err = errors.Join(err, writer.Close()) // before the bytes are read
	return bytes.Clone(out.Bytes()), err
}

// AcceptsGzip reports whether an Accept-Encoding header names gzip without refusing it.
func AcceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, parameter, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(parameter, " ", "")
			return q != "q=0" && strings.TrimRight(q, "0") != "q=0."
		}
	}
	return false
}
