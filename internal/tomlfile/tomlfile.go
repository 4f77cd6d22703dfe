// Package tomlfile says where a configuration file is wrong.
package tomlfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Fault is err, from decoding the file path, with the line and the column in it that
// are wrong, both from 1, if they are known: "PATH:LINE:COLUMN: …", otherwise "PATH: …".
func Fault(path string, err error) error {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return fmt.Errorf("%s: %w", path, err)
	}
	row, column := at.Position()
	return fmt.Errorf("%s:%d:%d: %s", path, row, column, strings.TrimPrefix(at.Error(), "toml: "))
}
