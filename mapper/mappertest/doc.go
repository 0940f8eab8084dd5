// Package mappertest makes small maps for the tests of packages above mapper.
package mappertest
