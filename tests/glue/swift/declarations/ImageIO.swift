// Declarations of Apple's Image I/O that the glue code uses, as documented. They only let tests check types on Linux.
public enum CGImagePropertyOrientation: UInt32, Sendable {
    case up = 1
    case upMirrored, down, downMirrored, leftMirrored, right, rightMirrored, left
}
