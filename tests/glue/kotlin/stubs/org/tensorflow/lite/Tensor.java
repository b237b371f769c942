package org.tensorflow.lite;

import java.nio.ByteBuffer;

public interface Tensor {
    DataType dataType();

    int[] shape();

    String name();

    ByteBuffer asReadOnlyBuffer();
}
