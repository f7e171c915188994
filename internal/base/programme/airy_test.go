package programme

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestEmptyLinesDoNotKeepTheReaderBusy: the YAML library takes the cube of their
// number, so many in a row are refused before it sees them.
func TestEmptyLinesDoNotKeepTheReaderBusy(t *testing.T) {
	done := make(chan error, 1)
	go func() {
		_, err := Read(fstest.MapFS{Main: {Data: []byte("vendor:\n  name: |\n    a" + strings.Repeat("\n", 100_000) + "    b\n")}})
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the reader is still busy after 20 s")
	}
}
