package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"clerestory.dev/clerestory/internal/base/fault"
)

func TestKindSurvivesWrapping(t *testing.T) {
	cause := errors.New("disk gone")
	err := fmt.Errorf("opening sample: %w", fault.Unavailable.New("reading it: %w", cause))
	if !errors.Is(err, fault.Unavailable) || !errors.Is(err, cause) || errors.Is(err, fault.Denied) {
		t.Fatalf("kinds of %v are wrong", err)
	}
	if k := fault.KindOf(err); k.Status != 503 || k.Exit != 3 {
		t.Fatalf("got %+v", k)
	}
	if !fault.IsInternal(cause) || fault.IsInternal(err) {
		t.Fatal("only what has no kind is internal")
	}
}
