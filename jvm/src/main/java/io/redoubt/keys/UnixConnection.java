package io.redoubt.keys;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.SocketTimeoutException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/**
 * A connection through the endpoint's unix socket. Java's blocking channels know no timeouts, so the channel is non-blocking
 * and one selector waits, until the deadline of the whole call.
 */
final class UnixConnection implements EndpointConnection {
    private static final long NANOS_PER_MILLI = 1_000_000;

    private final SocketChannel channel;
    private final Selector selector;
    private final SelectionKey interest;
    private final long deadline;

    private UnixConnection(SocketChannel channel, Selector selector, Duration timeout) throws IOException {
        this.channel = channel;
        this.selector = selector;
        this.interest = channel.register(selector, 0);
        this.deadline = System.nanoTime() + timeout.toNanos();
    }

    static UnixConnection open(Path socket, Duration timeout) throws RedoubtException {
        SocketChannel channel = null;
        try {
            channel = SocketChannel.open(StandardProtocolFamily.UNIX);
            channel.connect(UnixDomainSocketAddress.of(socket));
            channel.configureBlocking(false);
            return new UnixConnection(channel, Selector.open(), timeout);
        } catch (IOException e) {
            closeQuietly(channel, e);
            throw new RedoubtException(ErrorCode.ENDPOINT_UNREACHABLE, "no key endpoint answers at " + socket, e);
        }
    }

    private static void closeQuietly(SocketChannel channel, IOException reason) {
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (IOException e) {
            reason.addSuppressed(e);
        }
    }

    @Override
    public InputStream input() {
        return new InputStream() {
            @Override
            public int read() throws IOException {
                byte[] one = new byte[1];
                return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
            }

            @Override
            public int read(byte[] data, int offset, int length) throws IOException {
                ByteBuffer into = ByteBuffer.wrap(data, offset, length);
                int count = channel.read(into);
                while (count == 0 && length > 0) {
                    await(SelectionKey.OP_READ);
                    count = channel.read(into);
                }
                return count;
            }
        };
    }

    @Override
    public OutputStream output() {
        return new OutputStream() {
            @Override
            public void write(int value) throws IOException {
                write(new byte[] {(byte) value}, 0, 1);
            }

            @Override
            public void write(byte[] data, int offset, int length) throws IOException {
                ByteBuffer from = ByteBuffer.wrap(data, offset, length);
                while (from.hasRemaining()) {
                    if (channel.write(from) == 0) {
                        await(SelectionKey.OP_WRITE);
                    }
                }
            }
        };
    }

    @Override
    public Map<String, String> credentials() {
        return Map.of();
    }

    @Override
    public void close() throws IOException {
        try (selector) {
            channel.close();
        }
    }

    private void await(int operation) throws IOException {
        long left = (deadline - System.nanoTime()) / NANOS_PER_MILLI;
        interest.interestOps(operation);
        if (left <= 0 || selector.select(left) == 0) {
            throw new SocketTimeoutException("no answer in time");
        }
        selector.selectedKeys().clear();
    }
}
