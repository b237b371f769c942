package ai.onnxruntime;

import java.util.Map;
import java.util.Optional;
import java.util.Set;

public class OrtSession implements AutoCloseable {
    public native Set<String> getInputNames();

    public native Set<String> getOutputNames();

    public native Result run(Map<String, ? extends OnnxTensorLike> inputs) throws OrtException;

    @Override
    public native void close() throws OrtException;

    public static class SessionOptions implements AutoCloseable {
        public native void setInterOpNumThreads(int numThreads) throws OrtException;

        public native void setIntraOpNumThreads(int numThreads) throws OrtException;

        public native void addConfigEntry(String configKey, String configValue) throws OrtException;

        public native void addXnnpack(Map<String, String> providerOptions) throws OrtException;

        public native void addNnapi() throws OrtException;

        @Override
        public native void close();
    }

    public static class Result implements AutoCloseable {
        public native OnnxValue get(int index);

        public native Optional<OnnxValue> get(String key);

        @Override
        public native void close();
    }
}
