package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"edged/mapper/beacon"
)

// clickHouse is a server of our own, on ports and in a folder of its own.
type clickHouse struct {
	cmd  *exec.Cmd
	base string // URL
}

// startTime is how long the server may take to start, or to stop.
const startTime = 60 * time.Second

// startClickHouse starts clickhouse-server; nil when it is not installed.
func startClickHouse(ctx context.Context, dir string) (*clickHouse, error) {
	program, err := exec.LookPath("clickhouse-server")
	if err != nil {
		return nil, nil
	}
	httpPort, err := freePort()
	if err != nil {
		return nil, err
	}
	tcpPort, err := freePort()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`<yandex>
<logger><level>warning</level><log>%[1]s/log</log><errorlog>%[1]s/err</errorlog></logger>
<listen_host>127.0.0.1</listen_host><http_port>%[2]d</http_port><tcp_port>%[3]d</tcp_port>
<path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><mark_cache_size>5368709120</mark_cache_size>
<users_config>%[1]s/users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
</yandex>`, dir, httpPort, tcpPort)
	const users = `<yandex>
<profiles><default><max_threads>2</max_threads></default></profiles>
<quotas><default></default></quotas>
<users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
</yandex>`
	for name, text := range map[string]string{"config.xml": config, "users.xml": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	c := &clickHouse{base: fmt.Sprintf("http://127.0.0.1:%d/", httpPort), cmd: exec.CommandContext(ctx, program, "--config-file="+filepath.Join(dir, "config.xml"))}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := c.query(ctx, "SELECT 1", nil, io.Discard)
		if err == nil {
			return c, nil
		}
		if time.Since(begin) > startTime {
			c.stop()
			log, _ := os.ReadFile(filepath.Join(dir, "err"))
			return nil, fmt.Errorf("clickhouse-server does not answer: %w: %s", err, log)
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (c *clickHouse) stop() {
	c.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(startTime, func() { c.cmd.Process.Kill() })
	c.cmd.Wait()
	kill.Stop()
}

// query runs a statement; body, when there is one, is the rows that it inserts.
func (c *clickHouse) query(ctx context.Context, statement string, body io.Reader, to io.Writer) error {
	address := c.base
	if body == nil {
		body = bytes.NewReader([]byte(statement))
	} else {
		address += "?query=" + url.QueryEscape(statement)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("clickhouse: %s: %s", resp.Status, text)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// besideClickHouse has ClickHouse aggregate the rows of a folder, and holds its
// cells against ours.
func besideClickHouse(dir string, r *report) error {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "edged-bench-clickhouse-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	server, err := startClickHouse(ctx, home)
	if err != nil || server == nil {
		return err
	}
	defer server.stop()
	set, err := beacon.OpenAll(dir)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := server.query(ctx, "CREATE TABLE rows (unit UInt64, pop UInt16, rtt Int16) ENGINE = MergeTree() ORDER BY tuple()", nil, io.Discard); err != nil {
		return err
	}
	if err := server.query(ctx, "INSERT INTO rows FORMAT RowBinary", rowBinary(set), io.Discard); err != nil {
		return err
	}
	// quantileExact takes the upper of two in the middle.
	const cells = "SELECT unit, pop, count() AS n, quantileExact(0.5)(rtt) AS p50, quantileExact(0.9)(rtt) AS p90 FROM rows GROUP BY unit, pop"
	var seconds []float64
	for range aggregateRounds {
		begin := time.Now()
		if err := server.query(ctx, cells+" FORMAT Null", nil, io.Discard); err != nil {
			return err
		}
		seconds = append(seconds, time.Since(begin).Seconds())
	}
	r.add("clickhouse: rate", float64(set.Rows)/middle(seconds)/1e6, "M rows/s")
	differ, err := server.compare(ctx, cells+" ORDER BY unit, pop FORMAT RowBinary", set)
	if err != nil {
		return err
	}
	r.most("clickhouse: cells that differ from ours", float64(differ), "", 0)
	return nil
}

// rowBinary writes the rows of a set as ClickHouse reads them.
func rowBinary(set *beacon.Set) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(w, 1<<20)
		var row []byte
		for s, err := range set.Sessions() {
			if err != nil {
				w.CloseWithError(err)
				return
			}
			for _, m := range s.Rows {
				row = binary.LittleEndian.AppendUint64(row[:0], uint64(beacon.UnitOf(m.Client)))
				row = binary.LittleEndian.AppendUint16(row, m.PoP)
				row = binary.LittleEndian.AppendUint16(row, m.RTT)
				if _, err := b.Write(row); err != nil {
					return // the reader is gone
				}
			}
		}
		w.CloseWithError(b.Flush())
	}()
	return r
}

// compare counts the cells in which a query's answer and ours differ.
func (c *clickHouse) compare(ctx context.Context, statement string, set *beacon.Set) (differ int, err error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.query(ctx, statement, nil, w)) }()
	defer r.Close()
	theirs := bufio.NewReaderSize(r, 1<<20)
	var b [8 + 2 + 8 + 2 + 2]byte
	le := binary.LittleEndian
	for cell, err := range beacon.Aggregate(ctx, set, beacon.Plan{PoPs: set.PoPs}, beacon.Embedded{}, 2) {
		if err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(theirs, b[:]); err != nil {
			return 0, fmt.Errorf("clickhouse has fewer cells: %w", err)
		}
		if le.Uint64(b[:]) != uint64(cell.Unit) || le.Uint16(b[8:]) != cell.PoP || le.Uint64(b[10:]) != uint64(cell.Count) ||
			int16(le.Uint16(b[18:])) != cell.P50 || int16(le.Uint16(b[20:])) != cell.P90 {
			differ++
		}
	}
	if _, err := theirs.ReadByte(); err != io.EOF {
		return 0, errors.Join(errors.New("clickhouse has more cells"), err)
	}
	return differ, nil
}
