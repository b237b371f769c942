package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

public final class Interpreter implements AutoCloseable {
    public Interpreter(ByteBuffer byteBuffer, Options options) {}

    public native int getInputTensorCount();

    public native int getOutputTensorCount();

    public native Tensor getInputTensor(int inputIndex);

    public native Tensor getOutputTensor(int outputIndex);

    public native String[] getSignatureKeys();

    public native String[] getSignatureInputs(String signatureKey);

    public native String[] getSignatureOutputs(String signatureKey);

    public native Tensor getInputTensorFromSignature(String inputName, String signatureKey);

    public native Tensor getOutputTensorFromSignature(String outputName, String signatureKey);

    public native void resizeInput(int idx, int[] dims);

    public native void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs);

    @Override
    public native void close();

    public static class Options {
        public native Options setNumThreads(int numThreads);

        public native Options setUseXNNPACK(boolean useXNNPACK);
    }
}
