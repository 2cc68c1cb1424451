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

// Command sends a command to the Redis server at HOST:PORT on a connection of its own. The answer is nil, a string, an int64 or an
// []any of these; an error fails the test.
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
	defer func() { _ = conn.Close() }() // the answer was read
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

// readAnswer reads an answer in version 2 of Redis's protocol: a line, whose first byte is the type, and the data that follow it.
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
		return nil, nil //nolint:nilnil // a null answer
	}
	if kind == '$' {
		text := make([]byte, n+2)
		_, err := io.ReadFull(in, text)
		return string(text[:n]), err
	}
	if kind != '*' {
		return nil, fmt.Errorf("answer of unknown type: %q", line)
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = readAnswer(in); err != nil {
			return nil, err
		}
	}
	return list, nil
}
