package env

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Command has the Redis server at HOST:PORT carry out a command, beside the product, on a connection of its own. The
// answer is nil, a string, an int64 or an []any of these; one that is an error fails the test.
func Command(t testing.TB, addr string, words ...string) any {
	t.Helper()
	answer, err := command(addr, words)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(words, " "), err)
	}
	return answer
}

func command(addr string, words []string) (any, error) {
	const wait = time.Minute
	conn, err := net.DialTimeout("tcp", addr, wait)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // it has had its answer
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	var request strings.Builder
	fmt.Fprintf(&request, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, request.String()); err != nil {
		return nil, err
	}
	return readAnswer(bufio.NewReader(conn))
}

// readAnswer reads an answer in version 2 of Redis's protocol: a line, whose first byte says what it is, and what the
// line says follows.
func readAnswer(in *bufio.Reader) (any, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	if kind == '-' {
		return nil, errors.New(rest)
	}
	if kind == '+' {
		return rest, nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil || kind == ':' {
		return n, err
	}
	if n < 0 {
		return nil, nil //nolint:nilnil // the answer that there is nothing
	}
	if kind == '$' {
		text := make([]byte, n+2)
		_, err := io.ReadFull(in, text)
		return string(text[:n]), err
	}
	if kind != '*' {
		return nil, fmt.Errorf("an answer that is unknown: %q", line)
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = readAnswer(in); err != nil {
			return nil, err
		}
	}
	return list, nil
}
