package release

import (
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// ListFiles makes a CycloneDX 1.6 bill of materials of files that are what they
// are made of: a detection base, a document. The same files give the same bytes.
func ListFiles(files []File, name, version string, at time.Time) ([]byte, error) {
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: at.UTC().Format(time.RFC3339),
		Component: &cdx.Component{Type: cdx.ComponentTypeData, BOMRef: "main", Name: name, Version: version},
	}
	components := []cdx.Component{}
	for _, f := range files {
		components = append(components, cdx.Component{Type: cdx.ComponentTypeFile, BOMRef: "file:" + f.Name, Name: f.Name, Version: version,
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: f.SHA256}}})
	}
	bom.Components = &components
	return sealSBOM(bom)
}
