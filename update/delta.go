package update

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// DeltaLimits are the caps on deltas, in one place.
var DeltaLimits = struct {
	Content int64 // bytes of the old content, and of the new one: both are held in memory
	Delta   int64 // bytes of a delta
}{Content: 192 << 20, Delta: 192 << 20}

// deltaDict is the id of the old content in a delta's zstd frame ("Clry").
const deltaDict = 0x79726c43

// MakeDelta makes the shorter way from old to new: a zstd frame with the old
// content as its dictionary. It fails with BadDelta when that is no shorter than
// compressing the new content alone: then the full file should travel.
func MakeDelta(old, new []byte) ([]byte, error) {
	if len(old) == 0 || len(new) == 0 || int64(max(len(old), len(new))) > DeltaLimits.Content {
		return nil, refuse(BadDelta, "a delta needs contents of 1 to %d bytes", DeltaLimits.Content)
	}
	// The encoder finds nothing that lies further back than its window, without a
	// word: the window must hold both contents.
	window := 1 << bits.Len(uint(max(len(old)+len(new), zstd.MinWindowSize)))
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(deltaDict, old), zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithWindowSize(min(window, zstd.MaxWindowSize)), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("making a delta: %w", err)
	}
	delta := enc.EncodeAll(new, nil)
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("making a delta: %w", err)
	}
	if err := pays(delta, new); err != nil {
		return nil, err
	}
	back, err := ApplyDelta(old, delta, int64(len(new)))
	if err != nil || !bytes.Equal(back, new) {
		return nil, fmt.Errorf("making a delta: it does not lead back to the content: %w", err)
	}
	return delta, nil
}

// pays refuses a delta that does not save anything.
func pays(delta, new []byte) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("making a delta: %w", err)
	}
	defer enc.Close()
	if full := len(enc.EncodeAll(new, nil)); len(delta) >= min(full, len(new)) {
		return refuse(BadDelta, "the delta has %d bytes, and the content alone %d when compressed", len(delta), full)
	}
	return nil
}

// ApplyDelta gives the content of exactly size bytes that a delta leads to. It
// holds no more than that and the old content in memory, whatever the delta
// says. Whether it is the right content is for its hash to tell.
func ApplyDelta(old, delta []byte, size int64) ([]byte, error) {
	if size < 1 || size > DeltaLimits.Content || int64(len(old)) > DeltaLimits.Content || int64(len(delta)) > DeltaLimits.Delta || len(old) == 0 {
		return nil, refuse(BadDelta, "a delta of %d bytes from %d to %d bytes is beyond what is accepted", len(delta), len(old), size)
	}
	// One frame that announces its size: a second frame, or one without end, would
	// make the decoder work for nothing.
	var head zstd.Header
	if err := head.Decode(delta); err != nil || head.Skippable || !head.HasFCS || head.FrameContentSize != uint64(size) {
		return nil, refuse(BadDelta, "the delta does not announce the %d bytes that it must lead to", size)
	}
	window := uint64(1) << bits.Len64(uint64(len(old))+uint64(size)+zstd.MinWindowSize)
	dec, err := zstd.NewReader(nil, zstd.WithDecoderDictRaw(deltaDict, old), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(uint64(size)), zstd.WithDecoderMaxWindow(min(window, zstd.MaxWindowSize)), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("applying a delta: %w", err)
	}
	defer dec.Close()
	content, err := dec.DecodeAll(delta, make([]byte, 0, size))
	if err != nil {
		return nil, refuse(BadDelta, "the delta can not be applied: %w", err)
	}
	if int64(len(content)) != size {
		return nil, refuse(BadDelta, "the delta leads to %d bytes; expected %d", len(content), size)
	}
	return content, nil
}
