package ai.onnxruntime;

import java.nio.ByteBuffer;

public final class OrtEnvironment implements AutoCloseable {
    public static native OrtEnvironment getEnvironment();

    public native String getVersion();

    public native OrtSession createSession(ByteBuffer modelBuffer, OrtSession.SessionOptions options)
            throws OrtException;

    @Override
    public native void close();
}
