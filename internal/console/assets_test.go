package console

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// Each library has the SHA-256 in assets/README.md, and its licence is included.
func TestLibrariesAreUnchanged(t *testing.T) {
	readme, err := os.ReadFile("assets/README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name, library := strings.CutSuffix(entry.Name(), ".gz")
		if !library {
			continue
		}
		plain, err := all.byName[name].file.Content(false)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(plain)
		if hash := hex.EncodeToString(sum[:]); !strings.Contains(string(readme), "| `"+hash+"` |") {
			t.Errorf("README.md lacks the SHA-256 of %s, %s", name, hash)
		}
	}
	for line := range strings.SplitSeq(string(readme), "\n") {
		for word := range strings.SplitSeq(line, "`") {
			if strings.HasSuffix(word, "-LICENSE.txt") {
				if text, err := os.ReadFile("assets/" + word); err != nil || len(text) < 500 {
					t.Errorf("%s: %v, %d bytes", word, err, len(text))
				}
			}
		}
	}
}
