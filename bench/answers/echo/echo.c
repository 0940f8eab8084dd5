/* The limit: receive up to 64 datagrams, set QR in each, send them back. One
 * socket, blocking, nothing parsed. Usage: echo PORT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { WIDTH = 64, SIZE = 2048 };

static unsigned char data[WIDTH][SIZE];
static struct sockaddr_in from[WIDTH];
static struct iovec iov[WIDTH];
static struct mmsghdr msgs[WIDTH];

int main(int argc, char **argv) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
    struct sockaddr_in addr = {.sin_family = AF_INET};
    if (argc != 2 || fd < 0) return 2;
    addr.sin_port = htons((unsigned short)atoi(argv[1]));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr)) {
        perror("bind");
        return 1;
    }
    for (int i = 0; i < WIDTH; i++) {
        iov[i].iov_base = data[i];
        msgs[i].msg_hdr.msg_iov = &iov[i];
        msgs[i].msg_hdr.msg_iovlen = 1;
        msgs[i].msg_hdr.msg_name = &from[i];
    }
    for (;;) {
        for (int i = 0; i < WIDTH; i++) {
            iov[i].iov_len = SIZE;
            msgs[i].msg_hdr.msg_namelen = sizeof from[i];
        }
        int n = recvmmsg(fd, msgs, WIDTH, MSG_WAITFORONE, NULL);
        if (n <= 0) continue;
        for (int i = 0; i < n; i++) {
            iov[i].iov_len = msgs[i].msg_len;
            data[i][2] |= 0x80;
        }
        for (int done = 0; done < n;) {
            int sent = sendmmsg(fd, msgs + done, (unsigned)(n - done), 0);
            done += sent > 0 ? sent : 1;
        }
    }
}
